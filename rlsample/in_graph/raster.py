"""Pictures from NumPy alone: a white canvas with rectangles, thick lines and discs, and grids of coloured cells."""

from __future__ import annotations

import numpy as np

Point = tuple[float, float]
Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
GREY: Colour = (150, 150, 150)
BLUE: Colour = (46, 98, 170)
ORANGE: Colour = (214, 120, 42)
GREEN: Colour = (62, 143, 82)


class Canvas:
    """A picture with the origin at the lower left and x to the right, in units of `scale` pixels.

    Args:
        width: in units.
        height: in units.
        scale: pixels per unit.
        origin: where the lower left corner is, in units.

    Examples:
        >>> from rlsample.in_graph.raster import Canvas
        >>> canvas = Canvas(width=2.0, height=1.0, scale=10)
        >>> canvas.disc((1.0, 0.5), radius=0.2, colour=(0, 0, 255))
        >>> canvas.pixels.shape, int((canvas.pixels[..., 0] == 0).sum())
        ((10, 20, 3), 12)
    """

    def __init__(self, width: float, height: float, scale: float, origin: Point = (0.0, 0.0)):
        """See the class."""
        shape = (round(height * scale), round(width * scale))
        self.pixels = np.full((*shape, 3), 255, np.uint8)
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        self._x = (columns + 0.5) / scale + origin[0]
        self._y = (shape[0] - rows - 0.5) / scale + origin[1]

    def rectangle(self, centre: Point, width: float, height: float, colour: Colour) -> None:
        """Fills an upright rectangle."""
        inside = (np.abs(self._x - centre[0]) <= width / 2) & (np.abs(self._y - centre[1]) <= height / 2)
        self.pixels[inside] = colour

    def line(self, start: Point, end: Point, thickness: float, colour: Colour) -> None:
        """Draws a line with round ends: all points within half the thickness of the segment."""
        along = np.subtract(end, start)
        x, y = self._x - start[0], self._y - start[1]
        part = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-12), 0.0, 1.0)
        self.pixels[np.hypot(x - part * along[0], y - part * along[1]) <= thickness / 2] = colour

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Fills a disc."""
        self.pixels[np.hypot(self._x - centre[0], self._y - centre[1]) <= radius] = colour

    def curve(self, xs: np.ndarray, ys: np.ndarray, thickness: float, colour: Colour) -> None:
        """Draws the function that goes through the points (xs ascending)."""
        self.pixels[np.abs(np.interp(self._x, xs, ys) - self._y) <= thickness / 2] = colour


def cells(colours: np.ndarray, size: int = 32) -> np.ndarray:
    """Draws a grid of cells with lines: uint8 `[rows, columns, 3]` to uint8 `[rows * size, columns * size, 3]`.

    Examples:
        >>> from rlsample.in_graph.raster import cells
        >>> cells(np.zeros([2, 3, 3], np.uint8), size=16).shape
        (32, 48, 3)
    """
    picture = np.repeat(np.repeat(colours, size, axis=0), size, axis=1)
    picture[::size] = picture[:, ::size] = GREY
    return picture


def shades(values: np.ndarray, colour: Colour = BLUE) -> np.ndarray:
    """Maps values in [0, 1] to colours between white and `colour`: `[...]` to uint8 `[..., 3]`.

    Examples:
        >>> from rlsample.in_graph.raster import shades
        >>> shades(np.array([0.0, 1.0]), colour=(255, 0, 0)).tolist()
        [[255, 255, 255], [255, 0, 0]]
    """
    values = np.clip(np.asarray(values, np.float64), 0.0, 1.0)[..., np.newaxis]
    return np.round(255 + values * (np.asarray(colour) - 255.0)).astype(np.uint8)
