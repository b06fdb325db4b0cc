"""Checks every ``type`` of a config, and its arguments, before anything is built.

The builders of mmengine would find the same mistakes, one at a time, minutes later,
and with a traceback that names neither the key nor what is near it.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry, init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmfrcnn.cli.checking.places import check_place
from mmfrcnn.cli.config import leaves, top_level_keys
from mmfrcnn.errors import UserError, did_you_mean

LAYER_CONFIGS = ('norm_cfg', 'conv_cfg', 'act_cfg', 'upsample_cfg', 'padding_cfg')
"""Small dicts that mmcv's layer builders read in their own ways: keys not checked."""

FOREIGN = ('Albu',)
"""Parts that hold types of another library."""

BUILDER_KEYS = {
    # What builders take out of the dict before they call the class.
    'type',
    '_scope_',
    'priority',  # of hooks
    'constructor',  # of an optim_wrapper
    'paramwise_cfg',
    'accumulative_counts',
    'convert_to_iter_based',  # of a param_scheduler
}

DATALOADER_KEYS = set(inspect.signature(DataLoader).parameters) | {
    'disable_subprocess_warning',
    'num_batch_per_epoch',
    '_scope_',
}
FREE_DICTS = {
    'train_dataloader': DATALOADER_KEYS,
    'val_dataloader': DATALOADER_KEYS,
    'test_dataloader': DATALOADER_KEYS,
    'randomness': set(inspect.signature(Runner.set_randomness).parameters) - {'self'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
}
"""Top-level dicts without a ``type``, and the keys the Runner reads in them."""


def check_registered(config: Config) -> None:
    """Check that every registered name in a config exists and takes what it is given.

    Only what the Runner reads is checked, not the config file's own variables.

    Args:
        config (Config): A loaded config, its ``custom_imports`` done.

    Raises:
        UserError: Naming the dotted key, what is wrong with it and what is near.
    """
    init_default_scope(config.get('default_scope', 'mmengine'))
    foreign: list[str] = []
    for path, node in leaves(config):
        if not isinstance(node, dict) or path.split('.')[0] not in top_level_keys():
            continue
        if path in FREE_DICTS and 'type' not in node:
            _check_keys(path, path, node, FREE_DICTS[path])
        elif isinstance(node.get('type'), str) and not path.startswith(tuple(foreign)):
            _check_typed(path, node)
            if node['type'] in FOREIGN:
                foreign.append(f'{path}.')


def _check_typed(path: str, node: dict) -> None:
    name = node['type']
    target = find_registered(name, node.get('_scope_'))
    if target is None:
        if _is_operator(name) or name.islower():
            return  # or a mode of the part around it, as FPG's type='conv'
        scope, _, own_name = name.rpartition('.')
        near = did_you_mean(own_name, registered_names())
        cause = 'it is a part of your own, name its module in custom_imports'
        if scope:
            cause = f'the package {scope!r} has it, install that package'
        raise UserError(f'{path}: nothing is registered as {name!r}.{near} If {cause}')
    check_place(path, name, target)
    if not path.endswith(LAYER_CONFIGS):
        accepted, strict = accepted_keys(target)
        _check_keys(path, name, node, accepted | BUILDER_KEYS, strict)


def _check_keys(
    path: str, owner: str, node: dict, accepted: set[str], strict: bool = True
) -> None:
    for key in node:
        if key in accepted:
            continue
        near = did_you_mean(key, accepted - BUILDER_KEYS)
        if strict and not near:
            near = f' It takes: {", ".join(sorted(accepted - BUILDER_KEYS))}'
        if near:
            raise UserError(f'{path}: {owner} takes no key {key!r}.{near}')


def find_registered(name: str, scope: str | None = None) -> Any:
    """Find a registered object in any registry, as seen from a scope; None if none."""
    for registry in _registries(scope):
        # A plain name that it has not, mmengine would search for as a module, slowly.
        if '.' in name or _has(registry, name):
            found = registry.get(name)
            if callable(found):
                return found
    return None


def _has(registry: Registry | None, name: str) -> bool:
    """Whether a registry, or one that it falls back on, has a plain name."""
    while registry is not None:
        registry.import_from_location()
        if name in registry.module_dict:
            return True
        registry = registry.parent
    return False


def registered_names() -> set[str]:
    """Return the names in the registries of the default scope and of mmengine."""
    return {name for registry in _registries(None) for name in registry.module_dict}


def _registries(scope: str | None) -> list[Registry]:
    """Return the registries of a scope (by default the current), then mmengine's."""
    scope = scope or DefaultScope.get_current_instance().scope_name
    modules = [mmengine.registry]
    if importlib.util.find_spec(scope):
        modules.insert(0, importlib.import_module(f'{scope}.registry'))
    found = [value for module in modules for value in vars(module).values()]
    registries = [value for value in found if isinstance(value, Registry)]
    # A scope's module names mmengine's too, where another part may have the same name.
    return sorted(registries, key=lambda registry: registry.scope != scope)


def _is_operator(name: str) -> bool:
    """Whether a name is one of mmcv's operators (``nms``, ``RoIAlign``)."""
    import mmcv.ops

    return hasattr(mmcv.ops, name)


def accepted_keys(target: Callable[..., Any]) -> tuple[set[str], bool]:
    """Return the argument names that a class or function takes.

    Args:
        target (Callable): A class or function.

    Returns:
        tuple: The names, of the base classes too as far as ``**kwargs`` may reach; and
        whether there are no others: with ``**kwargs``, there could be.
    """
    calls = [target]
    if inspect.isclass(target):
        calls = [vars(c)['__init__'] for c in target.__mro__ if '__init__' in vars(c)]
    names: set[str] = set()
    for depth, call in enumerate(calls):
        parameters = inspect.signature(call).parameters.values()
        kinds = {p.kind for p in parameters}
        names |= {p.name for p in parameters} - {'self', 'args', 'kwargs'}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return names, depth == 0
    return names, False
