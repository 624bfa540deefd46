"""Names with a scope, such as ``mmseg.DynOPoolHook``, in the configs of an OpenMMLab package."""

from mmengine import registry


def register_scoped_names(scope: str) -> None:
    """Let names of this package be found with the scope of another one, too.

    They are registered in mmengine's root registries, where each package finds them without a
    scope; for a name with one mmengine looks in that package's registry alone.
    """
    for root in (registry.DATA_SAMPLERS, registry.DATASETS, registry.HOOKS, registry.LOG_PROCESSORS,
                 registry.MODELS, registry.OPTIM_WRAPPERS, registry.TRANSFORMS):
        for name, kind in root.module_dict.items():
            if kind.__module__.startswith('mmseg_dynopool.'):
                root.children[scope].register_module(name=name, module=kind)
