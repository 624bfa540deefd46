"""A config as Python text that reads back unchanged, whatever its values contain."""

import builtins
import keyword
import math
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from mmengine.config import Config

_WIDTH = 96
_INDENT = '    '


def config_text(cfg: Config) -> str:
    """The settings of a config as Python text that mmengine reads back unchanged.

    ``{{ ... }}`` in a value is kept; from mmengine's own ``pretty_text`` it comes back replaced.
    Classes and functions become their names, paths text, arrays lists.

    Raises:
        ValueError: a value cannot be written as Python; the message names it.

    Examples:
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool.config_text import config_text
        >>> print(config_text(Config(dict(note="it's {{ fileDirname }}", model=dict(lr=1e-3)))))
        model = dict(lr=0.001)
        note = "it's {\\x7b fileDirname }}"
        <BLANKLINE>
    """
    lines = []
    # Names that the text itself may use, such as set and dict, come last.
    for key, value in sorted(cfg.to_dict().items(),
                             key=lambda item: (hasattr(builtins, str(item[0])), str(item[0]))):
        text = _source(value, str(key))
        # Not every key can name a variable, e.g. --cfg-options my-key=1.
        lines.append(f'{key} = {text}' if _is_name(key) else f'locals()[{_quoted(key)}] = {text}')
    return ''.join(f'{line}\n' for line in lines)


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def _quoted(text: str | bytes) -> str:
    return repr(text).replace('{{', '{\\x7b')


def _source(value: Any, path: str, depth: int = 0) -> str:
    """An expression for a value; ``path`` leads to it, for a message."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, (str, bytes)):
        return _quoted(value[:])  # without the class of a str Enum
    if value is None or isinstance(value, (bool, range, slice)):
        return repr(value)
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        name = f'{value.__module__}.{value.__qualname__}'
        if '<' not in name:
            return value.__name__ if value.__module__ == 'builtins' else repr(name)
    if isinstance(value, dict):
        named = all(map(_is_name, value))
        items = [(f'{key}=' if named else f'{_source(key, path)}: ')
                 + _source(item, f'{path}.{key}', depth + 1) for key, item in value.items()]
        return _joined('dict(' if named else '{', items, ')' if named else '}', depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_source(item, f'{path}.{i}', depth + 1) for i, item in enumerate(value)]
        if isinstance(value, list):
            return _joined('[', items, ']', depth)
        if isinstance(value, tuple):
            return _joined('(', items, ',)' if len(items) == 1 else ')', depth)
        return _joined(f'{type(value).__name__}([', items, '])', depth)
    raise ValueError(f'{path}={value!r} cannot be written in a config; give what a config can say: '
                     'numbers, texts, lists, dicts, or the name of a class or function')


def _joined(left: str, items: list[str], right: str, depth: int) -> str:
    """On one line if that is short, else one item per line."""
    line = left + ', '.join(items) + right
    if len(line) + len(_INDENT) * depth <= _WIDTH and '\n' not in line:
        return line
    pad = f'\n{_INDENT * (depth + 1)}'
    end = '' if right.startswith(',') else ','
    return f'{left}{pad}' + f',{pad}'.join(items) + f'{end}\n{_INDENT * depth}{right}'
