"""Image files: which they are, and their size without decoding them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmfrcnn.errors import UserError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
ORIENTATION = 0x0112  # the EXIF tag; from 5 on, width and height are exchanged


def image_size(path: str | Path) -> tuple[int, int]:
    """Return width and height as image loaders show it, from the header alone.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it is no image, or broken.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5
    except UnidentifiedImageError as error:
        raise OSError(str(error)) from error
    return (height, width) if turned else (width, height)


def known_size(path: Path, what: str) -> tuple[int, int]:
    """Return an image's size, or say what it was wanted for.

    Raises:
        UserError: If there is no such image, or it is broken.
    """
    try:
        return image_size(path)
    except FileNotFoundError as error:
        raise UserError(f'{what}: no such image: {path}') from error
    except OSError as error:
        raise UserError(f'{what}: broken image: {path} ({error})') from error


def find_images(folder: Path) -> list[Path]:
    """List the images below a folder, sorted.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f'no such folder of images: {folder}')
    found = [path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f'no images in {folder} (looked for {", ".join(SUFFIXES)})')
    return sorted(found)


def with_suffix(folder: Path, name: str) -> Path:
    """Return the image of a name; where there is none, the name it should have."""
    endings = [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)]
    candidates = [folder / f'{name}{ending}' for ending in endings]
    return next((path for path in candidates if path.is_file()), candidates[0])
