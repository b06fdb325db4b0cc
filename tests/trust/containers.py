"""Files that a pickle may be in: torch's formats, other archives, and their tricks."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

from tests.trust.pickles import value, whole

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch before 1.6
SYSTEM = {'protocol_version': PROTOCOL, 'little_endian': True, 'type_sizes': {}}
HONEST = whole(value({'state_dict': {}, 'meta': {}}))
Members = list[tuple[str, bytes]]


def legacy(program: bytes) -> bytes:
    """Return torch's format of five pickles."""
    head = b''.join(whole(value(one)) for one in (MAGIC, PROTOCOL, SYSTEM))
    return head + program + whole(value([]))


def archive(members: Members, root: str = 'archive/', **options: int) -> bytes:
    """Return a zip of members as torch writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', **options) as file:  # type: ignore[arg-type]
        for name, content in members:
            file.writestr(root + name, content)
    return stream.getvalue()


def zipped(program: bytes) -> bytes:
    """Return torch's format of today."""
    return archive(
        [('data.pkl', program), ('byteorder', b'little'), ('version', b'3\n')]
    )


def tar(program: bytes) -> bytes:
    """Return torch's first format: CVE-2025-32434 is of how it was read."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as file:
        nothing = whole(value(0))
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            content = program if name == 'pickle' else nothing
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def script(program: bytes) -> bytes:
    """Return a TorchScript archive."""
    code = b'def forward(self, x):\n  return x\n'
    return archive(
        [
            ('data.pkl', program),
            ('constants.pkl', program),
            ('code/__torch__.py', code),
            ('code/__torch__.py.debug_pkl', program),
            ('version', b'3\n'),
        ]
    )


def _changed(content: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in content and len(old) == len(new)
    return content.replace(old, new, count)


def _flagged(content: bytes) -> bytes:
    """Mark every member as encrypted, in both headers."""
    for sign, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        parts = content.split(sign)
        for i, part in enumerate(parts[1:], 1):
            at = offset - 4
            parts[i] = part[:at] + b'\x01\x00' + part[at + 2 :]
        content = sign.join(parts)
    return content


def _wrong_sum(content: bytes) -> bytes:
    """Set the checksums of both headers to 0: some scanners then skip the member."""
    for sign, offset in ((b'PK\x03\x04', 14), (b'PK\x01\x02', 16)):
        parts = content.split(sign)
        for i, part in enumerate(parts[1:], 1):
            at = offset - 4
            parts[i] = part[:at] + bytes(4) + part[at + 4 :]
        content = sign.join(parts)
    return content


def _wrong_name(program: bytes) -> bytes:
    """Name a member in the local header as it is not in the directory."""
    content = archive([('notes.pkl', program), ('version', b'3\n')])
    at = content.rindex(b'archive/notes.pkl')
    return content[:at] + b'archive/data.pkl\0' + content[at + 17 :]


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    'pickle': lambda program: program,
    'legacy': legacy,
    'zip': zipped,
    'tar': tar,
    'script': script,
    'a second pickle': lambda program: HONEST + program,
    'legacy, of the type sizes': lambda program: (
        whole(value(MAGIC)) + whole(value(PROTOCOL)) + program + HONEST
    ),
    'legacy, of the keys': lambda program: (
        legacy(HONEST)[: -len(whole(value([])))] + program
    ),
    'legacy, of the magic': lambda program: program + legacy(HONEST),
    'deflated': lambda program: archive(
        [('data.pkl', program), ('version', b'3\n')], compression=zipfile.ZIP_DEFLATED
    ),
    'no root': lambda program: archive(
        [('data.pkl', program), ('version', b'3\n')], ''
    ),
    'a root outside': lambda program: archive([('data.pkl', program)], '../../'),
    'an absolute root': lambda program: archive([('data.pkl', program)], '/tmp/'),
    'twice, the second': lambda program: archive(
        [('data.pkl', HONEST), ('data.pkl', program), ('version', b'3\n')]
    ),
    'twice, the first': lambda program: archive(
        [('data.pkl', program), ('data.pkl', HONEST), ('version', b'3\n')]
    ),
    'a wrong checksum': lambda program: _wrong_sum(zipped(program)),
    'an encryption flag': lambda program: _flagged(zipped(program)),
    'a wrong local name': _wrong_name,
    'a zip behind a pickle': lambda program: program + zipped(HONEST),
    'a pickle behind a zip': lambda program: zipped(HONEST) + program,
    'a zip behind a zip': lambda program: zipped(HONEST) + zipped(program),
    'a zip in a zip': lambda program: archive([('data.pkl', zipped(program))]),
    'gzip': lambda program: zlib.compress(program, wbits=31),
    'a script of Python': lambda program: b'import antigravity\n' + program,
    '7z': lambda program: b"7z\xbc\xaf'\x1c" + program,
    'numpy': lambda program: _numpy(program),
    'safetensors': lambda program: struct.pack('<Q', len(program)) + program,
}
"""By name: what makes a file of a pickle.

A wrong ending (CVE-2025-10155), a wrong checksum (CVE-2025-10156), modules below those
that are listed (CVE-2025-10157, in `CALLS`) and torch's first format (CVE-2025-32434)
got past scanners or torch; so did two members of one name, and flags of encryption.
"""


def _numpy(program: bytes) -> bytes:
    """Return an array of objects as ``.npy``."""
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head + program
