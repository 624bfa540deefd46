"""Images for ``tools/infer.py``: unusual ones that work, and broken ones."""

import cv2
import numpy as np


def _colors(bench):
    return cv2.imread(str(bench.project.images[0]))


def _works(bench, name, image, like):
    """Segment ``image`` and its 8-bit color equivalent; returns what was printed."""
    assert cv2.imwrite(str(bench.folder / 'in' / name), image)
    assert cv2.imwrite(str(bench.folder / 'in' / 'like.png'), like)
    seen = bench.infer('in', ok=True)
    for folder in ('labels', 'overlays'):
        ours, theirs = (cv2.imread(str(bench.folder / 'out' / folder / f'{stem}.png'), -1)
                        for stem in (name.rpartition('.')[0], 'like'))
        assert ours.shape[:2] == like.shape[:2]
        assert np.array_equal(ours, theirs)
    return seen


def _pictures(bench):
    (bench.folder / 'in').mkdir()
    return _colors(bench)


def image_of_one_pixel(bench):
    pixel = _pictures(bench)[:1, :1]
    return _works(bench, 'pixel.png', pixel, pixel)


def image_of_one_row(bench):
    row = _pictures(bench)[:1]
    return _works(bench, 'row.png', row, row)


def image_16_bit(bench):
    image = _pictures(bench)
    return _works(bench, 'deep.png', image.astype(np.uint16) * 256 + 77, image)


def image_16_bit_tiff(bench):
    image = _pictures(bench)
    return _works(bench, 'deep.tif', image.astype(np.uint16) * 257, image)


def image_gray(bench):
    gray = _pictures(bench)[..., 1]
    return _works(bench, 'gray.png', gray, cv2.merge([gray] * 3))


def image_gray_16_bit(bench):
    gray = _pictures(bench)[..., 1]
    return _works(bench, 'gray.png', gray.astype(np.uint16) * 256, cv2.merge([gray] * 3))


def image_with_alpha_channel(bench):
    image = _pictures(bench)
    return _works(bench, 'clear.png', np.dstack([image, image[..., :1] // 2]), image)


def image_wrong_suffix(bench):
    """A PNG named .jpg: the content decides."""
    image = _pictures(bench)
    bench.write('in/renamed.jpg', cv2.imencode('.png', image)[1].tobytes())
    cv2.imwrite(str(bench.folder / 'in' / 'like.png'), image)
    seen = bench.infer('in', ok=True)
    maps = [cv2.imread(str(bench.folder / 'out' / 'labels' / f'{stem}.png'), -1)
            for stem in ('renamed', 'like')]
    assert np.array_equal(*maps)
    return seen


def image_missing(bench):
    return bench.infer('lost.png')


def image_empty(bench):
    return bench.infer(bench.write('empty.png', ''))


def image_corrupt(bench):
    return bench.infer(bench.write('noise.png', bytes(range(256)) * 9))


def image_cut_png(bench):
    return bench.infer(bench.write('cut.png', bench.project.images[0].read_bytes()[:-20]))


def image_cut_jpeg(bench):
    content = cv2.imencode('.jpg', _colors(bench))[1].tobytes()
    return bench.infer(bench.write('cut.jpg', content[:len(content) // 2]))


def image_cut_jpeg_with_thumbnail(bench):
    """A whole JPEG inside the header is not the image's end."""
    small, large = (cv2.imencode('.jpg', image)[1].tobytes()
                    for image in (_colors(bench)[:8, :8], _colors(bench)))
    thumbnail = b'\xff\xe1' + (len(small) + 2).to_bytes(2, 'big') + small
    return bench.infer(bench.write('cut.jpg', large[:2] + thumbnail + large[2:-400]))


def image_jpeg_with_trailing_bytes(bench):
    content = cv2.imencode('.jpg', _colors(bench))[1].tobytes()
    return bench.infer(bench.write('phone.jpg', content + b'MOTION PHOTO'), ok=True)


def image_of_floats(bench):
    image = bench.folder / 'float.tif'
    assert cv2.imwrite(str(image), _colors(bench).astype(np.float32) / 255)
    return bench.infer(image)


def image_text(bench):
    return bench.infer(bench.write('notes.txt', 'notes'))


def image_folder_empty(bench):
    (bench.folder / 'in').mkdir()
    return bench.infer('in')


def image_folder_without_images(bench):
    bench.write('in/notes.txt', 'notes')
    return bench.infer('in')


def image_folder_named_like_an_image(bench):
    cv2.imwrite(str(bench.write('in/a.png', '')), _colors(bench))
    (bench.folder / 'in' / 'b.png').mkdir()
    return bench.infer('in', ok=True)


def image_link_to_nothing(bench):
    (bench.folder / 'in').mkdir()
    (bench.folder / 'in' / 'a.png').symlink_to('lost.png')
    return bench.infer('in')


def images_of_one_name(bench):
    for suffix in ('png', 'jpg'):
        cv2.imwrite(str(bench.write(f'in/twin.{suffix}', '')), _colors(bench))
    return bench.infer('in')


def image_corrupt_among_good(bench):
    """What was written before is whole and stays."""
    cv2.imwrite(str(bench.write('in/a.png', '')), _colors(bench))
    bench.write('in/b.png', 'noise')
    seen = bench.tool('infer', bench.project.config, bench.project.checkpoint, 'in',
                      '--out', 'out')
    written = sorted(p.relative_to(bench.folder / 'out') for p in bench.folder.glob('out/*/*'))
    assert [str(p) for p in written] == ['labels/a.png', 'overlays/a.png']
    return seen
