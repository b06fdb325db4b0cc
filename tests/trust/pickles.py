"""Pickles that leave a mark where they are executed: one row a way to do it.

A pickle is a program for a small machine with a stack. Each row is such a program for
the path of a mark: by names that call something, some of which scanners did not know,
and by every opcode that imports or calls.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

HERE = 'tests.trust.pickles'
EXTENSION = 0xF1  # of copyreg, for private use


def touch(mark: str) -> None:
    """Leave the mark: what nothing in a file may call."""
    Path(mark).touch()


class Toucher:
    """Leaves the mark by whatever an opcode does with an object."""

    def __new__(cls, mark: str = '') -> Toucher:
        """Leave it where the object is made with it."""
        if mark:
            touch(mark)
        return super().__new__(cls)

    def __setstate__(self, mark: str) -> None:
        touch(mark)

    def __setitem__(self, key: str, mark: str) -> None:
        touch(mark)

    def append(self, mark: str) -> None:
        """Stand for a list's."""
        touch(mark)

    def add(self, mark: str) -> None:
        """Stand for a set's."""
        touch(mark)


# -- Opcodes


def text(value: str) -> bytes:
    """Push a text."""
    return b'X' + struct.pack('<I', len(value.encode())) + value.encode()


def short(value: str) -> bytes:
    """Push a text in the way of protocol 4."""
    return b'\x8c' + bytes([len(value.encode())]) + value.encode()


def name(path: str) -> bytes:
    """Push what ``module:name`` is: GLOBAL or, where the name has dots, STACK_GLOBAL.

    Dots in names are followed from protocol 4 on, which both then say.
    """
    module, _, attribute = path.partition(':')
    if '.' in attribute:
        return short(module) + short(attribute) + b'\x93'
    return f'c{module}\n{attribute}\n'.encode()


def value(one: Any) -> bytes:
    """Push a plain value."""
    return pickle.dumps(one, protocol=2)[2:-1]


def call(path: str, *arguments: bytes) -> bytes:
    """Push what a call of ``module:name`` returns: MARK, TUPLE, REDUCE."""
    return name(path) + b'(' + b''.join(arguments) + b'tR'


def whole(opcodes: bytes, protocol: int | None = None) -> bytes:
    """Return opcodes as a pickle, of protocol 2 where they do not need 4."""
    protocol = protocol or (4 if b'\x93' in opcodes else 2)
    return b'\x80' + bytes([protocol]) + opcodes + b'.'


# -- Names

_TOUCH = ['touch', '{mark}']
_YAML = '!!python/object/apply:os.system ["{shell}"]'
CALLS: dict[str, tuple] = {
    'os:system': ('{shell}',),
    'posix:system': ('{shell}',),
    'os:popen': ('{shell}',),
    'os:posix_spawn': ('/bin/touch', _TOUCH, {}),
    'os:spawnv': (0, '/bin/touch', _TOUCH),
    'os:mkdir': ('{mark}',),
    'os:makedirs': ('{mark}',),
    'os:mkfifo': ('{mark}',),
    'os:mknod': ('{mark}',),
    'os:open': ('{mark}', 65),
    'os:symlink': ('/', '{mark}'),
    'nt:system': ('{shell}',),
    'subprocess:Popen': (_TOUCH,),
    'subprocess:call': (_TOUCH,),
    'subprocess:check_output': (_TOUCH,),
    'subprocess:getoutput': ('{shell}',),
    'commands:getoutput': ('{shell}',),
    'pty:spawn': (_TOUCH,),
    'pydoc:pipepager': ('', '{shell}'),
    'multiprocessing.util:spawnv_passfds': ('/bin/touch', _TOUCH, ()),
    'ctypes:CDLL': ('{mark}',),
    'urllib.request:urlretrieve': ('file:///dev/null', '{mark}'),
    'numpy:size': ('',),
    'mlflow.projects.backend.local:_run_entry_point': ('{shell}', '.', '', ''),
    'torch.jit.annotations:parse_type_line': ('{python}', None, None),
    'torch.distributed.rpc:rpc_sync': ('', '', ()),
    'torch.distributed.nn.api.remote_module:RemoteModule': ('', ''),
    'builtins:exec': ('{python}',),
    'builtins:eval': ('{python}',),
    'builtins:open': ('{mark}', 'w'),
    'builtins:__import__': ('antigravity',),
    'builtins:getattr': ('', 'upper'),
    '__builtin__:eval': ('{python}',),
    '__builtin__:apply': ('{python}',),
    'importlib:import_module': ('antigravity',),
    'runpy:run_path': ('{script}',),
    'runpy:_run_code': ('{python}', {}),
    'timeit:timeit': ('pass', '{python}'),
    'profile:run': ('{python}', '/dev/null'),
    'cProfile:run': ('{python}', '/dev/null'),
    'doctest:debug_script': ('{python}',),
    'code:interact': (),
    'trace:main': (),
    'pdb:run': ('{python}',),
    'shutil:copyfile': ('/dev/null', '{mark}'),
    'io:open': ('{mark}', 'w'),
    '_io:open': ('{mark}', 'w'),
    '_io:FileIO': ('{mark}', 'w'),
    '_pyio:open': ('{mark}', 'w'),
    'codecs:open': ('{mark}', 'w'),
    'gzip:open': ('{mark}', 'w'),
    'bz2:open': ('{mark}', 'w'),
    'lzma:open': ('{mark}', 'w'),
    'zipfile:ZipFile': ('{mark}', 'w'),
    'tarfile:open': ('{mark}', 'w'),
    'shelve:open': ('{mark}',),
    'dbm.dumb:open': ('{mark}',),
    'sqlite3:connect': ('{mark}',),
    'logging:FileHandler': ('{mark}',),
    'pathlib:Path.touch': (),
    'webbrowser:open': ('file:///',),
    'pickle:loads': ('',),
    'marshal:loads': ('',),
    'yaml:unsafe_load': (_YAML,),
    'asyncio.unix_events:_UnixSubprocessTransport._start': ('',),
    'numpy:memmap': ('{mark}', 'u1', 'w+', 0, 9),
    'numpy:load': ('{mark}', None, True),
    'numpy.f2py.crackfortran:getlincoef': ('{python}', {}),
    'numpy.testing._private.utils:runstring': ('{python}', {}),
    'torch:load': ('{mark}',),
    'torch.hub:load': ('', ''),
    'torch.jit:load': ('{mark}',),
    'torch.jit.unsupported_tensor_ops:execWrapper': ('{python}', {}, {}),
    'torch.storage:_load_from_bytes': ('',),
    'torch.utils.collect_env:run': ('{shell}',),
    'torch.utils.model_dump:main': ('',),
    'mmengine.config:Config.fromfile': ('{script}',),
    'mmengine.fileio:put_text': ('', '{mark}'),
    'mmengine.fileio:dump': ([], '{mark}', 'json'),
    'mmengine.registry:build_from_cfg': ({'type': 'os.system'},),
    'mmengine.utils.misc:get_object_from_string': ('antigravity',),
    'mmdet.registry:MODELS.build': ({'type': 'os.system', 'command': '{shell}'},),
    f'{HERE}:touch': ('{mark}',),
}
"""``module:name``, and the arguments of the call, with what `filled` puts in them."""


def filled(template: Any, mark: str) -> Any:
    """Put the path of the mark, and what leaves it, into the texts of a value."""
    if isinstance(template, str):
        written = template.replace('{shell}', 'touch {mark}')
        written = written.replace('{python}', 'open("{mark}", "w").close()')
        script = Path(mark).with_name('script.py').as_posix()
        return written.replace('{script}', script).replace('{mark}', mark)
    if isinstance(template, list | tuple):
        return type(template)(filled(one, mark) for one in template)
    if isinstance(template, dict):
        return {key: filled(one, mark) for key, one in template.items()}
    return template


def calling(path: str, mark: str) -> bytes:
    """Return the opcodes of a row of `CALLS`."""
    return call(path, *(value(filled(one, mark)) for one in CALLS[path]))


# -- Ways of opcodes to import and to call

_OURS = f'{HERE}:touch'
_CLASS = f'{HERE}:Toucher'
_FIVE = b'K\x05'


def _opcodes(mark: str) -> dict[str, bytes]:
    """Return the ways by name, as opcodes that leave one object on the stack."""
    this, line = text(mark), f'V{mark}\n'.encode()
    new = name(_CLASS) + b')\x81'
    by_text = short(HERE) + short('touch')
    return {
        'REDUCE': call(_OURS, this),
        'STACK_GLOBAL': by_text + b'\x93' + this + b'\x85R',
        'STACK_GLOBAL of the memo': (
            short(HERE)
            + b'\x940'
            + short('touch')
            + b'\x940h\x00h\x01\x93'
            + this
            + b'\x85R'
        ),
        'STACK_GLOBAL through a module': (
            short(HERE) + short('pickle.sys.modules') + b'\x93'
        ),
        'INST': b'(' + this + f'i{HERE}\ntouch\n'.encode(),
        'INST of a line': b'(' + line + f'i{HERE}\ntouch\n'.encode(),
        'OBJ': b'(' + name(_CLASS) + this + b'o',
        'NEWOBJ': name(_CLASS) + this + b'\x85\x81',
        'NEWOBJ_EX': name(_CLASS) + b')}' + text('mark') + this + b's\x92',
        'BUILD': new + this + b'b',
        'APPEND': new + this + b'a',
        'APPENDS': new + b'(' + this + this + b'e',
        'SETITEM': new + _FIVE + this + b's',
        'SETITEMS': new + b'(' + _FIVE + this + b'u',
        'ADDITEMS': new + b'(' + this + b'\x90',
        'EXT1': b'\x82' + bytes([EXTENSION]) + this + b'\x85R',
        'EXT2': b'\x83' + struct.pack('<H', EXTENSION) + this + b'\x85R',
        'EXT4': b'\x84' + struct.pack('<i', EXTENSION) + this + b'\x85R',
        'DUP': name(_OURS) + b'2' + this + b'\x85R0',
        'a call that is dropped': call(_OURS, this) + b'0N',
        'a call below another': call(_OURS, this)
        + b'0'
        + call('builtins:len', text('')),
        'a call in a tuple': call(_OURS, this) + b'\x85',
        'a call in a list': b'](' + call(_OURS, this) + b'e',
        'a call as a key': b'}(' + call(_OURS, this) + b'K\x00u',
        'a call as a value': b'}' + text('state_dict') + call(_OURS, this) + b's',
        'a call as an argument': call(
            'collections:OrderedDict', b']' + call(_OURS, this) + b'0'
        ),
        'a call in a frame': b'\x95'
        + struct.pack('<Q', 3)
        + b'N0'
        + b'N0'
        + call(_OURS, this),
        'a call and no end': call(_OURS, this) + b'cno.such\nname\n',
        'a name with a comment': b'c' + HERE.encode() + b'\ntouch\n' + this + b'\x85R',
        'a pickle that asks for ids': b'Pan id\n0' + call(_OURS, this),
        'a pickle with an id of a tuple': call(_OURS, this) + b'\x85Q',
        'setting of attributes': (
            call('types:SimpleNamespace')
            + b'N}'
            + text('a')
            + call(_OURS, this)
            + b's\x86b'
        ),
        'a chain of calls': (
            call('operator:methodcaller', text('touch'))
            + b'('
            + call('pathlib:PosixPath', this)
            + b'tR'
        ),
        'a partial call': call('functools:partial', name(_OURS), this) + b')R',
        'a mapped call': (
            call('builtins:list', call('builtins:map', name(_OURS), b']' + this + b'a'))
        ),
        'a called method': call('pathlib:Path.touch', call('pathlib:PosixPath', this)),
    }


def programs(mark: str) -> dict[str, bytes]:
    """Return all pickles that would leave a mark, by name."""
    found = {path: whole(calling(path, mark)) for path in CALLS}
    for title, opcodes in _opcodes(mark).items():
        old = title in ('INST', 'INST of a line', 'OBJ')
        new = b'\x93' in opcodes or b'\x95' in opcodes
        found[title] = whole(opcodes, 0 if old else 4 if new else 2)
    return found
