"""Pieces: what is drawn is found where it is, by colour, shape and texture, whatever the brightness."""

import numpy as np
import pytest

from parvideo.synthetic.motion import PILLAR_WIDTH
from parvideo.synthetic.objects import COLOURS, Actor, Look, Scene, object_cover, render
from parvideo.synthetic.segments import (
    FULL,
    SHAPES,
    Seen,
    patch_axis,
    patches,
    shape_errors,
    stripe_strength,
    take_apart,
)

FRAMES, SIZE, RADIUS = 4, 64, 0.12
STILL = np.zeros((FRAMES, 2))
TRACK = np.stack([np.linspace(-0.2, 0.25, FRAMES), np.linspace(0.1, -0.15, FRAMES)], -1)


def scene(*actors: Actor, pillar: bool = False, contrast: float = 1.0) -> Scene:
    backdrop = np.random.default_rng(0).uniform(0, 1, 15)
    backdrop[0] = 80.0  # its brightness; the next two are its tint
    return Scene(actors, RADIUS, pillar, STILL, backdrop, contrast)


def actor(look: Look, track: np.ndarray = TRACK, there: tuple[int, ...] = (1,) * FRAMES) -> Actor:
    return Actor(look, track, np.array(there, bool))


def seen(*actors: Actor, size: int = SIZE, pillar: bool = False) -> Seen:
    return take_apart(render(scene(*actors, pillar=pillar), size).numpy())


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_is_one_piece_of_its_colour_where_it_was_drawn(shape: str, colour: str) -> None:
    found = seen(actor(Look(shape, colour)))
    for name, pieces in zip(COLOURS, found.pieces, strict=True):
        assert pieces.frame.tolist() == (list(range(FRAMES)) if name == colour else [])
    pieces = found.pieces[list(COLOURS).index(colour)]
    assert np.abs(pieces.centre - TRACK).max() < 0.5 / SIZE
    assert pieces.area == pytest.approx(FULL[shape] * RADIUS**2, rel=0.15)  # corners are rounded by a pixel
    for number, frame in enumerate(pieces.frame):
        assert np.unique(pieces.labels[frame]).tolist() == [0, number + 1]


def test_the_largest_piece_of_a_frame_is_taken_and_zero_where_there_is_none() -> None:
    """The pillar cuts a disc into a large and a small part."""
    off = np.array([[0.3 * RADIUS + PILLAR_WIDTH / 4, 0.0]] * FRAMES)
    found = seen(actor(Look("Disc", "Red"), off, (1, 0, 1, 1)), pillar=True)
    red = found.pieces[list(COLOURS).index("Red")]
    centre, area = red.largest(FRAMES)
    assert (area[1], *centre[1]) == (0, 0, 0)
    for frame in (0, 2, 3):
        parts = red.area[red.frame == frame]
        assert area[frame] == parts.max()
        assert centre[frame, 0] > 0.3 * RADIUS
    assert not np.isin(1, red.frame)


def test_brightness_and_stripes_do_not_change_the_pieces() -> None:
    plain, striped = seen(actor(Look("Disc", "Green"))), seen(actor(Look("Disc", "Green", striped=True)))
    lighter = take_apart(np.clip(render(scene(actor(Look("Disc", "Green"))), SIZE).numpy() + 30, 0, 255))
    for other in (striped, lighter):
        for one, same in zip(plain.pieces, other.pieces, strict=True):
            assert one.frame.tolist() == same.frame.tolist()
            assert np.allclose(one.centre, same.centre, atol=0.3 / SIZE)


def test_coverage_is_between_nothing_and_all_and_of_one_colour_a_pixel() -> None:
    found = seen(actor(Look("Square", "Blue")), actor(Look("Disc", "Yellow"), TRACK[::-1]))
    assert found.cover.shape == (6, FRAMES, SIZE, SIZE)
    assert (found.frames, found.size) == (FRAMES, SIZE)
    assert found.cover.min() == 0
    assert found.cover.max() <= 1
    assert (np.count_nonzero(found.cover, axis=0) <= 1).all()


@pytest.mark.parametrize("clip", [np.zeros, np.ones])
def test_a_grey_clip_has_no_pieces(clip: type) -> None:
    found = take_apart(100 * np.asarray(clip((FRAMES, 32, 32, 3), np.uint8)))
    assert [len(pieces.frame) for pieces in found.pieces] == [0] * 6
    assert [pieces.largest(FRAMES)[1].tolist() for pieces in found.pieces] == [[0.0] * FRAMES] * 6


def test_a_patch_is_cut_where_it_is_asked_for() -> None:
    """Out of a volume whose value says where it is, so that every element of the patch can be computed."""
    time, y, x = np.meshgrid(np.arange(3), np.arange(40), np.arange(40), indexing="ij")
    volume = 10_000.0 * time + 100.0 * ((y + 0.5) / 40 - 0.5) + ((x + 0.5) / 40 - 0.5)
    centres, frames = np.array([[0.1, -0.05], [-0.2, 0.2]]), np.array([2, 1])
    cut = patches(volume, centres, frames)
    assert cut.shape == (2, 25, 25)
    for one, (cx, cy), frame in zip(cut, centres, frames, strict=True):
        wanted = 10_000 * frame + 100 * (cy + patch_axis()[:, None]) + (cx + patch_axis()[None, :])
        assert np.allclose(one, wanted)


def test_outside_of_the_frame_there_is_nothing() -> None:
    assert (patches(np.ones((1, 32, 32)), np.array([[0.9, 0.0]]), np.array([0])) == 0).all()


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_that_was_drawn_explains_it_best(shape: str, size: int) -> None:
    found = seen(actor(Look(shape, "Cyan")), size=size)
    covers = patches(found.cover[list(COLOURS).index("Cyan")], TRACK, np.arange(FRAMES))
    errors = shape_errors(covers, RADIUS, size)
    assert set(errors) == set(SHAPES)
    for other in set(SHAPES) - {shape}:
        assert (errors[shape] < errors[other]).all(), other
    assert (errors[shape] < 0.2).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_stripes_are_told_from_a_plain_face(shape: str) -> None:
    strengths = []
    for striped in (False, True):
        found = seen(actor(Look(shape, "Pink", striped)))
        bright = patches(found.bright, TRACK, np.arange(FRAMES)).mean(0)
        strengths.append(stripe_strength(bright, shape, RADIUS, SIZE))
    assert abs(strengths[0]) < 0.1
    assert 0.6 < strengths[1] < 1.2


def test_full_areas_are_those_of_the_outlines() -> None:
    """In squared radii, whatever the radius: a disc's is pi."""
    assert FULL["Disc"] == pytest.approx(np.pi, rel=1e-3)
    for shape in SHAPES:
        area = object_cover(shape, 0.17, np.zeros((1, 2)), 300).sum() / (0.17 * 300) ** 2
        assert area == pytest.approx(FULL[shape], rel=5e-3)
