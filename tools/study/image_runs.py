"""The runs of docs/image_level.md: what the image as the first level brings, beside opponents."""

from .runs import Run, _seeds

IMAGE = (('image', True), )
PLACES = (('hrnet', 'stretched_h', 5), ('hrnet', 'isotropic', 5), ('deeplab', 'stretched_h', 3),
          ('demo', 'mni152', 3))
JITTERS = (0., 0.1)
# The defaults: in trainings of fewer than 500 steps, and in longer ones.
LEARNED = (*IMAGE, ('jitter', JITTERS[0]))
JITTERED = (*IMAGE, ('jitter', JITTERS[1]))
UNIFORM = (*IMAGE, ('travel', 0.), ('jitter', JITTERS[0]))  # along the plan; nothing learns
SETTINGS = (('learner', LEARNED), ('aligned', ()), ('planned', ()), ('learner', UNIFORM))
THICK = (*IMAGE, ('iterations', 1200))
# Of the thick slices, at about the stock network's cost.
SHAPES = ('48x104', '64x80', '72x72', '88x56')
STRAIGHT = (*IMAGE, ('iterations', 1200), ('travel', 0.), ('jitter', 0.1))  # at the stock sizes
# Strides by hand of slices of 3 mm, a little below the stock network's cost: sizes are aligned.
SPACED_3 = ('image', 0.7)
SPOKEN_STEPS = ('iterations', 600)
SPOKEN = (*IMAGE, SPOKEN_STEPS, ('jitter', 0.1))
SPOKEN_STRAIGHT = (*IMAGE, SPOKEN_STEPS, ('travel', 0.), ('jitter', 0.1))
# At about the stock network's cost.
SPOKEN_SHAPES = ('32x256', '24x344', '16x512')
SPOKEN_SPACED = (SPOKEN_STEPS, ('size', '32x128'))
# Seeds, method, cost, options.
SPOKEN_SETTINGS = (
    (5, 'stock', 1., (SPOKEN_STEPS, )), (5, 'learner', 1., SPOKEN),
    (5, 'spaced', 1., SPOKEN_SPACED),
    *((3, 'shaped', 1., (SPOKEN_STEPS, ('size', size))) for size in SPOKEN_SHAPES),
    (3, 'learner', 0.5, SPOKEN), (3, 'aligned', 0.5, (SPOKEN_STEPS, )),
    (3, 'learner', 1., SPOKEN_STRAIGHT), (3, 'learner', 0.5, SPOKEN_STRAIGHT))
LONG = (('iterations', 900), )
KERNEL_PLACES = (('hrnet', 'stretched_h'), ('deeplab', 'stretched_h'))
PROBE = (('probe', True), )
# Of the HRNet on stretched_h, beside LEARNED.
SENSITIVITY = (
    (('travel', 1.), ), (('travel', 10.), ), (('begin', 0.), ), (('reach', 0.25), ),
    (('reach', 0.75), ), (('settle', 0.6), ), (('every', 1), ), (('every', 4), ),
    (('multiple', 1), ), (('shrink', False), ), (('start', 'target'), ))
KERNELS = ('antialiased', 'bilinear', 'area', 'mean', 'maximum')


def all_runs() -> list[Run]:
    """Every run once; what a conclusion hangs on comes first."""
    runs = []
    for seed in range(5):
        for network, data, seeds in PLACES:
            if seed < seeds:  # of the demo's network the first two settings
                runs += [Run(network, data, method, 0.5, seed, options)
                         for method, options in SETTINGS[:2 if network == 'demo' else 4]]
        if seed < 3:
            runs += [Run('demo', 'mni152_coronal_5', 'learner', 1., seed,
                         (*JITTERED, *THICK[1:])),
                     Run('demo', 'mni152_coronal_5', 'stock', 1., seed, THICK[1:])]
    for network, data, _ in PLACES:
        runs += _seeds(5 if data == 'stretched_h' and network == 'hrnet' else 3, network, data,
                       'learner', 0.5, options=JITTERED)
    runs += _seeds(3, 'demo', 'mni152_coronal_5', 'learner', 1., options=(*THICK, ('jitter', 0.)))
    for seed in range(3):
        runs += [Run('demo', 'mni152_coronal_5', 'shaped', 1., seed, (*THICK[1:], ('size', size)))
                 for size in SHAPES]
        runs += [Run('demo', 'mni152_coronal_5', 'spaced', 1., seed, (*THICK[1:], *more))
                 for more in ((), (('image', 0.5), ))]
        runs.append(Run('demo', 'mni152_coronal_5', 'learner', 1., seed, STRAIGHT))
    # Stock networks of as many steps are those that fit begins with.
    for method, options in (('learner', JITTERED), ('aligned', ()), ('squeezed', ())):
        runs += _seeds(3, 'hrnet', 'stretched_h', method, 0.5, options=options + LONG)
    for options in (JITTERED, LEARNED):
        runs += _seeds(3, 'deeplab', 'stretched_h', 'learner', 0.5, options=options + LONG)
    runs += _seeds(3, 'deeplab', 'stretched_h', 'aligned', 0.5, options=LONG)
    for network, data in KERNEL_PLACES:
        for kernel in KERNELS:
            runs += _seeds(3, network, data, 'kernel', 0.5, options=(('kernel', kernel), ))
    for network, data in KERNEL_PLACES:  # again, with what is asked of the trained networks
        for method, ratio, options in (('stock', 1., ()), ('learner', 0.5, LEARNED)):
            runs += _seeds(3, network, data, method, ratio, options=options + PROBE)
    for data in ('stretched_h', 'isotropic'):
        for method, options in SETTINGS:
            runs += _seeds(3, 'hrnet', data, method, 0.75, options=options)
    for ratio, data in ((0.35, 'stretched_h'), (0.5, 'mixed')):
        for method, options in (('learner', LEARNED), ('aligned', ()), ('learner', UNIFORM)):
            runs += _seeds(3, 'hrnet', data, method, ratio, options=options)
    runs += _seeds(3, 'hrnet', 'stretched_h', 'squeezed', 0.35)
    for options in SENSITIVITY:
        runs += _seeds(3, 'hrnet', 'stretched_h', 'learner', 0.5, options=(*LEARNED, *options))
    # Three times as long, with as many estimates.
    runs += _seeds(3, 'hrnet', 'stretched_h', 'learner', 0.5,
                   options=(*JITTERED, *LONG, ('every', 6)))
    for ratio in (0.5, 2., 4.):  # 4: what nnU-Net's strides cost
        runs += _seeds(3, 'demo', 'mni152_coronal_5', 'learner', ratio,
                       options=(*JITTERED, *THICK[1:]))
    for seeds, method, ratio, options in SPOKEN_SETTINGS:
        runs += _seeds(seeds, 'hrnet', 'spoken_numbers', method, ratio, options=options)
    for seed in range(3):
        runs += [Run('demo', 'mni152_coronal_3', *rest, seed, options)
                 for *rest, options in (
                     ('stock', 1., THICK[1:]), ('learner', 1., (*JITTERED, *THICK[1:])),
                     ('spaced', 1., (*THICK[1:], SPACED_3)))]
    for method, options in (('learner', (*JITTERED, *THICK[1:])), ('stock', THICK[1:]),
                            ('spaced', THICK[1:])):
        runs += _seeds(3, 'unet', 'mni152_coronal_5', method, 1., options=options)
    return list(dict.fromkeys(runs))
