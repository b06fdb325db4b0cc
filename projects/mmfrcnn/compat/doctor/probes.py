"""What is tried in an interpreter of its own, where it may fail or even crash."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What `import mmfrcnn` needs on its path.
PROJECTS = Path(__file__).resolve().parents[3]
SECONDS = 180

# Each prints one line of JSON. They run in processes of their own.
PROBES = {
    'torch': """
import json, torch
cuda = torch.cuda
found = dict(version=torch.__version__, available=cuda.is_available())
found['built_for'] = torch.version.cuda or torch.version.hip
found['devices'] = [cuda.get_device_name(i) for i in range(cuda.device_count())]
if found['available']:
    (torch.ones(2, 2, device='cuda') @ torch.ones(2, 2, device='cuda')).sum().item()
print(json.dumps(found))
""",
    'torchvision': """
import json, torch, torchvision
boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [20., 20., 30., 30.]])
scores = torch.tensor([.9, .8, .7])
devices = ['cpu'] + ['cuda'] * torch.cuda.is_available()
for device in devices:
    kept = torchvision.ops.nms(boxes.to(device), scores.to(device), .5)
    assert kept.tolist() == [0, 2], f'nms keeps {kept.tolist()} on {device}'
print(json.dumps(dict(version=torchvision.__version__, devices=devices)))
""",
    'opencv': """
import json, cv2, numpy
image = cv2.resize(numpy.zeros((4, 4, 3), numpy.uint8), (2, 2))
for kind in ('.jpg', '.png'):
    assert cv2.imdecode(cv2.imencode(kind, image)[1], 1) is not None, f'no {kind}'
print(json.dumps(dict(version=cv2.__version__)))
""",
    'numpy': 'import json, numpy; print(json.dumps(dict(version=numpy.__version__)))',
    'matplotlib': """
import json, matplotlib, matplotlib.pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
print(json.dumps(dict(version=matplotlib.__version__)))
""",
    'pycocotools': 'from pycocotools import cocoeval, mask; print("{}")',
    'mm packages': f"""
import json, sys
sys.path.append({str(PROJECTS)!r})
import mmfrcnn, mmcv, mmdet, mmengine
import mmdet.apis, mmdet.datasets, mmdet.engine, mmdet.evaluation, mmdet.models
import mmdet.visualization, mmcv._ext
found = dict((m.__name__, m.__version__) for m in (mmengine, mmcv, mmdet))
print(json.dumps(dict(found, compiled=getattr(mmcv._ext, '__file__', None))))
""",
}


@dataclass(frozen=True)
class Probe:
    """What a probe printed, or the last line of its error."""

    found: dict[str, Any]
    error: str

    @property
    def missing(self) -> str:
        """Name of the module that is not installed, or ''."""
        return self.error.partition('No module named ')[2].strip('\'" ')


def run_probe(name: str) -> Probe:
    """Run one of `PROBES` in an interpreter of its own."""
    command = [sys.executable, '-W', 'ignore', '-c', PROBES[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Probe({}, f'did not answer within {SECONDS} s')
    if done.returncode < 0:
        return Probe({}, f'crashed with signal {-done.returncode}')
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
        return Probe({}, lines[-1])
    return Probe(json.loads(done.stdout.strip().splitlines()[-1]), '')
