"""Learn what stands still in the picture while the slide moves: a round border, a scale bar, a
reticle, dirt on the camera.

It looks the same wherever the stage is, so that frames of two places seem to be of one. Here it is
found by its staying: pixels that hardly change are left out of the comparison, and where the slide
shines through, frames are divided by their mean.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.colour import Pixels
from wbcdet.report.registration import fill, pattern_of

Floats = npt.NDArray[np.float32]

#: Mean brightness that frames are brought to: the light may flicker.
_LEVEL = 128.0
#: Two frames are of different places from this mean difference on, and from this share of the
#: usual one, both of pictures that are so much smaller; of darker ones nothing is said.
_DIFFERENT, _OF_USUAL, _SMALL, _DARK = 2.0, 0.7, 0.25, 4.0
#: Different frames before anything is said, those that are looked at again when something is, and
#: those that the mean is taken over.
_LEAST, _AGAIN, _MOST = 6, 16, 64
#: The mean of N frames of different places holds 1/N of their variance, and up to 2.8 times that if
#: the stage creeps. More than four times that, and at least the first of these shares, stands
#: still; once it was found, the second is enough.
_TIMES, _STILL, _STAYS = 4.0, 0.12, 0.08
#: A pixel that changes less than this, over what 90 % of all change at most, is opaque; what lies
#: this near to it (px of the kept picture) is left out, too.
_OPAQUE, _RIM = 0.2, 2
#: Frames from which the mean is smooth enough to divide by it, and the share of the bright parts
#: below which it is opaque.
_SMOOTH, _DARKEST = 12, 0.25


class Backdrop:
    """What stands still in the pictures of a camera, in pixels of their kept pictures.

    Attributes:
        found: something stands still.
        frames: different frames by which that was judged.
        apart: mean difference of the last frame from that which is most like it, where the mean of
            each is 128.
    """

    def __init__(self) -> None:
        self._places: Floats = np.empty((0, 1, 1), np.float32)
        self._begin(())

    def learn(self, grey: Pixels) -> bool:
        """Take the next frame into account.

        Args:
            grey: (rows, columns), the frame as ``RegistrationImage.seen`` gives it.

        Returns:
            whether what is left out of the comparison has changed.
        """
        if self._size != grey.shape:
            changed = self.found
            self._begin(grey.shape)
            if changed:
                return True
        frame = grey.astype(np.float32)
        light = float(frame.mean())
        if light < _DARK:
            return False
        frame *= _LEVEL / light
        if not self._is_another_place(frame):
            return False
        self.frames += 1
        weight = max(1 / self.frames, 1 / _MOST)
        for kept, value in (
            (self._mean, frame),
            (self._squares, frame**2),
            (self._detail, pattern_of(frame) ** 2),
        ):
            kept += weight * (value - kept)
        return self._judge()

    def without(self, grey: Floats) -> tuple[Floats, Pixels]:
        """Return a frame without what stands still, and where it shows the slide (1, else 0)."""
        if self._flat is not None:
            grey = np.minimum(grey / self._flat, 255).astype(np.float32)
        return fill(grey, self._clear), self._clear

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether something was found in pictures of this shape."""
        return self.found and shape == self._size

    @property
    def is_new(self) -> bool:
        """Whether it was found by so few frames that those before it should be looked at again."""
        return self.frames <= _AGAIN

    def _is_another_place(self, frame: Floats) -> bool:
        """Say whether a frame differs from all before: a place that is seen again stands still
        for no reason of the camera."""
        small = cv2.resize(frame, None, fx=_SMALL, fy=_SMALL, interpolation=cv2.INTER_AREA)
        if len(self._places):
            apart = np.abs(self._places - small).mean((1, 2))
            self.apart = float(apart.min())
            usual = float(np.median(apart))
            # Of all so far: one picture of something else, such as a hand, proves nothing.
            most = max(usual, float(np.median(self._apart or [0.0])))
            if apart.min() < max(_DIFFERENT, _OF_USUAL * most):
                return False
            self._apart.append(usual)
        else:
            self._places = np.empty((0, *small.shape), np.float32)
        self._places = np.concatenate((self._places, small[None]))[-_MOST:]
        return True

    def _begin(self, size: tuple[int, ...]) -> None:
        """Begin with pictures of a size: of another one nothing is known."""
        self._size = size
        self.found = False
        self.frames = self._judged = 0
        self.apart = 0.0
        self._places = self._places[:0]
        self._apart: deque[float] = deque(maxlen=_MOST)
        self._mean, self._squares, self._detail = (np.zeros(size, np.float32) for _ in range(3))
        self._clear = np.ones(size, np.uint8)
        self._flat: Floats | None = None

    def _judge(self) -> bool:
        # What is left out may not change at every frame: all keyframes are made ready again then.
        if self.frames < _LEAST or (self.found and self.frames < 1.5 * self._judged):
            return False
        share = self._share(np.ones(self._size, np.uint8))
        least = max(_STILL, _TIMES / min(self.frames, _MOST))
        found = share > (_STAYS if self.found else least)
        if not found:
            changed, self.found = self.found, False
            return changed
        self.found, self._judged = True, min(self.frames, _MOST)
        change = np.sqrt(np.maximum(self._squares - self._mean**2, 0))
        opaque = (change < _OPAQUE * float(np.percentile(change, 90))).astype(np.uint8)
        opaque = cv2.morphologyEx(opaque, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        # Thin dark lines, too: what shines through them is mostly noise.
        opaque |= (self._mean < _DARKEST * float(np.percentile(self._mean, 90))).astype(np.uint8)
        size = 2 * _RIM + 1
        self._clear = (1 - cv2.dilate(opaque, np.ones((size, size), np.uint8))).astype(np.uint8)
        self._flat = None
        if self.frames >= _SMOOTH and self._share(self._clear) > _STAYS:
            level = float(self._mean[self._clear > 0].mean())
            self._flat = np.maximum(self._mean / level, _DARKEST).astype(np.float32)
        return True

    def _share(self, clear: Pixels) -> float:
        """Return the share of the detail of single frames that their mean holds."""
        if not clear.any():
            return 0.0
        of_mean = float((pattern_of(self._mean) ** 2)[clear > 0].mean())
        return of_mean / max(float(self._detail[clear > 0].mean()), 1e-3)
