"""Maps that change with time, as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.image import AxesImage
from PIL import Image
from torch import nn

from pinntk.geometry._bounded import TIME
from pinntk.problem import Problem
from pinntk.reporting.plot._maps import Plane, Section, planes
from pinntk.reporting.plot._sheet import beside
from pinntk.reporting.plot._solution import FieldMaps, field_maps

_FRAMES = 24
_DPI = 100
_BETWEEN, _LAST = 120, 1200  # milliseconds from a frame to the next, and after the last
_COLORS = 254  # of a GIF that are chosen, beside black and white
_WHITE = 240  # colors as bright as that are white, since Pillow takes the nearest one but for a few steps
_SAMPLE = 4  # frames that the colors are chosen by


def animation(problem: Problem, network: nn.Module) -> bytes | None:
    """A GIF of the maps of `solution_panels` over the time: every field, the known solution, the network and the error.

    None for problems that have no time or no two coordinates of space.
    """
    drawn = _planes(problem)
    maps = field_maps(problem, network, drawn) if drawn else []
    if not maps or len(maps[0].sections) < 2 or not _alike(maps[0].sections):
        return None
    return gif(frames(maps))


def _planes(problem: Problem) -> list[Plane]:
    """Space, at many times."""
    domain, found = problem.domain, planes(problem.domain)
    if TIME not in domain.coordinates or len(domain.space) < 2 or not found:
        return []
    axis = domain.axis(TIME)
    times = np.linspace(*domain.bounds[axis], _FRAMES)
    return [replace(found[0], fixed={**found[0].fixed, axis: float(time)}) for time in times]


def _alike(sections: Sequence[Section]) -> bool:
    """Whether all have the same places."""
    first = sections[0]
    return all(np.array_equal(first.points[:, first.plane.axes], one.points[:, one.plane.axes]) for one in sections)


def frames(maps: Sequence[FieldMaps]) -> list[Image.Image]:
    """A picture for each section: what stays is drawn once, and what moves over it."""
    first = [replace(one, sections=one.sections[:1]).sheet for one in maps]
    sheets = [replace(sheet, rows=[[replace(panel, at="") for panel in row] for row in sheet.rows]) for sheet in first]
    figure, drawn = beside(sheets, 1, title=0.1)
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    time = figure.suptitle(maps[0].sections[0].plane.label, fontsize=10, animated=True)
    shown = []  # (axes, what is drawn anew on them, the field, the quantity)
    for one, placed in zip(maps, drawn, strict=True):
        for quantity, (_, ax, image) in zip(one.quantities, placed, strict=True):
            artists = [cast(Artist, image), *ax.lines, *ax.spines.values()]
            for artist in artists:
                artist.set_animated(True)
            shown.append((ax, artists, one, quantity))
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for i, section in enumerate(maps[0].sections):
        canvas.restore_region(still)
        time.set_text(section.plane.label)
        figure.draw_artist(time)
        for ax, artists, one, quantity in shown:
            _renew(artists[0], one.sections[i], quantity.values[i])
            for artist in artists:
                ax.draw_artist(artist)
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert("RGB"))
    return pictures


def _renew(image: Artist, section: Section, values: np.ndarray) -> None:
    """Other values in a map that `Section.draw` has made."""
    if isinstance(image, AxesImage):
        image.set_data(section.pixels(values))
    else:
        cast(ScalarMappable, image).set_array(section.pixels(values) if section.axes else np.nan_to_num(values))


def gif(pictures: Sequence[Image.Image]) -> bytes:
    """Pictures of one size as a GIF that repeats. The colors are those of all, so that none flickers."""
    chosen = pictures[:: max(1, len(pictures) // _SAMPLE)]
    wide, high = pictures[0].size
    together = Image.new("RGB", (wide, high * len(chosen)))
    for i, picture in enumerate(chosen):
        together.paste(picture, (0, i * high))
    colors = np.array(together.quantize(_COLORS, Image.Quantize.MAXCOVERAGE).getpalette()).reshape(-1, 3)[:_COLORS]
    colors[colors.min(1) >= _WHITE] = 255
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colors.ravel().tolist(), 0, 0, 0, 255, 255, 255])
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    file = BytesIO()
    times = [_BETWEEN] * len(others) + [_LAST]
    first.save(file, format="GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=False)
    return file.getvalue()
