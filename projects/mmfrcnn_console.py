"""The command ``mmfrcnn``: the package's tools under one name, from any folder.

A module beside the package, because importing that takes seconds and needs the mm
stack: help, a mistyped name and the doctor answer at once, and without either.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

TOOLS = Path(__file__).with_name('mmfrcnn') / '.mim' / 'tools'

COMMANDS = {
    # Command: its file in tools/, and what it does.
    'new': ('new', 'look at a folder of your own and write a config for it'),
    'train': ('train', 'train a detector from a config'),
    'test': ('test', 'evaluate a checkpoint on the test set of a config'),
    'predict': ('predict', 'detect objects in an image, a folder or a video'),
    'browse': ('browse_dataset', 'show what the network is fed, after augmentation'),
    'report': ('report', 'explain a run on one page: what is lost, and what to do'),
    'anchors': ('anchors', 'say whether the anchors fit the boxes, and which would'),
    'replay': ('replay', 'compute a step again whose loss was not finite'),
    'lr': ('lr', 'find the learning rates that a training can bear'),
    'convert': ('convert_dataset', 'convert a data set between COCO, VOC and YOLO'),
    'convert-weights': ('convert_weights', 'convert weights of other frameworks'),
    'store-proposals': ('store_proposals', 'store what a trained RPN proposes'),
    'make-shapes': ('make_shapes', 'draw the data set of shapes'),
    'demo': ('demo', 'draw shapes, train on them, evaluate, draw the detections'),
    'doctor': ('doctor', 'say what is wrong with this installation, and the cure'),
}


def overview() -> str:
    """Return one screen: each command with one line."""
    width = max(map(len, COMMANDS))
    return '\n'.join(
        [
            'usage: mmfrcnn COMMAND [arguments]      mmfrcnn COMMAND --help',
            '',
            *(f'  {name:<{width}}  {says}' for name, (_, says) in COMMANDS.items()),
            '',
            'A CONFIG is a file, or one that came with the package:',
            '  mmfrcnn train mmfrcnn::shapes/faster-rcnn_r18_fpn_shapes.py',
            'Several GPUs:',
            '  torchrun --nproc-per-node=8 -m mmfrcnn train CONFIG --launcher pytorch',
        ]
    )


def nearest(word: str) -> str:
    """Return the command most like a word, which may be a tool's file name, or ''."""
    names = {name: name for name in COMMANDS}
    names |= {tool: name for name, (tool, _) in COMMANDS.items()}
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return names[near[0]] if near else ''


def run_tool(command: str, arguments: list[str]) -> None:
    """Run a tool as ``python tools/TOOL.py`` would, but for its name in the help."""
    tool, _ = COMMANDS[command]
    path = TOOLS / f'{tool}.py'
    source = path.read_text('utf-8')
    source = source.replace(f'python tools/{tool}.py', f'mmfrcnn {command}')
    sys.argv = [f'mmfrcnn {command}', *arguments]
    sys.path.insert(0, str(TOOLS))
    names = {'__name__': '__main__', '__file__': str(path)}
    exec(compile(source, path, 'exec', dont_inherit=True), names)


def main() -> int:
    """Run the command that the command line names; return the exit code."""
    word, *arguments = sys.argv[1:] or ['--help']
    if word in ('-h', '--help'):
        print(overview())
    elif word in COMMANDS:
        run_tool(word, arguments)  # which ends the process itself
    else:
        near = nearest(word)
        hint = f' Did you mean {near!r}?' if near else ''
        print(
            f'error: no command {word!r}.{hint} `mmfrcnn` lists them', file=sys.stderr
        )
        return 2
    return 0
