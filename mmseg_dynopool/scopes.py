"""Names with a scope, such as ``mmseg.DynOPoolHook``, in the configs of an OpenMMLab package."""

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOG_PROCESSORS,
    MODELS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)


def register_scoped_names(scope: str) -> None:
    """Let names of this package be found with the scope of another one, too.

    They are registered in mmengine's root registries, where each package finds them without a
    scope; for a name with one mmengine looks in that package's registry alone.
    """
    for root in (DATA_SAMPLERS, DATASETS, HOOKS, LOG_PROCESSORS, MODELS, OPTIM_WRAPPERS,
                 TRANSFORMS):
        for name, kind in root.module_dict.items():
            if kind.__module__.startswith('mmseg_dynopool.'):
                root.children[scope].register_module(name=name, module=kind)
