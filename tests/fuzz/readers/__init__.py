"""All readers that are fuzzed."""

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)
from tests.fuzz.readers import (
    arrays,
    checkpoints,
    coco,
    configs,
    csv_table,
    folders,
    images,
    labelling_tools,
    records,
    voc,
    yolo,
)

MODULES = (
    *(coco, voc, yolo, csv_table, labelling_tools, images),
    *(arrays, records, configs, checkpoints, folders),
)
READERS = [reader for module in MODULES for reader in module.READERS]
