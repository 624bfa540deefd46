"""Spectrograms of spoken numbers: where a tone lies, what the labels say, and espeak-ng itself."""

import ctypes

import cv2
import numpy as np
import pytest

from study import spoken_numbers as module
from study.candidates import describe, load
from study.runs import Run
from study.spoken_numbers import (
    BANDS,
    CLASSES,
    FRAMES,
    VOICES,
    class_of,
    draw_number,
    log_mel,
    prepare_spoken_numbers,
)
from support.commands import tool

RATE, HOP = 16_000, 160


class Tones:
    """Speaks every text as a plosive of 1 s, a vowel of .5 s, and silence."""

    rate, hop = RATE, HOP

    def say(self, text, voice, speed, pitch):
        assert voice.split('+')[1] in VOICES['val'] and text.isdigit()
        time = np.arange(3 * RATE) / RATE
        return 1000 * np.sin(2 * np.pi * 500 * time), [(0, 't'), (RATE, 'i:'), (24_000, '_:')]


def has_espeak():
    try:
        ctypes.CDLL('libespeak-ng.so.1')
    except OSError:
        return False
    return True


@pytest.mark.parametrize('hertz', [300, 1000, 4000])
def test_a_tone_lies_in_the_row_of_its_frequency(hertz):
    image = log_mel(np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE), np.arange(40) * HOP, RATE)
    mel = np.log1p(np.array([hertz, 8000]) / 700)
    row = BANDS - (BANDS + 1) * mel[0] / mel[1]
    assert np.abs(image[:, 2:].argmax(0) - row).max() <= 1 and image.max() == 255


def test_a_click_lies_in_the_column_of_its_time():
    waveform = np.zeros(RATE)
    waveform[50 * HOP] = 1000
    loudest = log_mel(waveform, np.arange(80) * HOP, RATE).max(0)
    assert loudest.argmax() == 50 and not loudest[:48].any() and not loudest[53:].any()


@pytest.mark.parametrize('phoneme, name', [
    ('_:', 'silence'), ('aI', 'front vowel'), ('o@', 'other vowel'), ('t#', 'plosive'),
    ('T', 'fricative'), ('n', 'nasal'), ('w', 'approximant')])
def test_a_phoneme_has_its_class(phoneme, name):
    assert CLASSES[class_of(phoneme)] == name


def test_labels_follow_the_phonemes_begin():
    """Each part of the label map is as long as its phoneme, as far as the image shows it."""
    for seed in range(5):
        image, label = draw_number(Tones(), VOICES['val'], np.random.default_rng(seed))
        assert image.shape == label.shape == (BANDS, FRAMES) and (label == label[:1]).all()
        classes, starts, counts = np.unique(label[0], return_index=True, return_counts=True)
        order = classes[starts.argsort()]
        assert list(order) == [c for c in (3, 1, 0) if c in classes]  # plosive, vowel, silence
        if 3 in classes and 0 in classes:
            assert counts[classes == 1] in (49, 50, 51)


def test_image_and_labels_agree_in_time():
    """What is loud begins in the column whose label says so."""
    class Bang(Tones):
        def say(self, text, voice, speed, pitch):
            waveform, _ = super().say(text, voice, speed, pitch)
            waveform[:20_000] = 0
            return waveform[:28_000], [(0, '_:'), (20_000, 'i:')]

    for seed in range(5):
        image, label = draw_number(Bang(), VOICES['val'], np.random.default_rng(seed))
        row = image[:, -1].argmax()
        begins = np.flatnonzero(label[0] == class_of('i:'))[0]
        loud = np.flatnonzero(image[row] > 240)[0]
        assert abs(int(begins) - int(loud)) <= 1


def test_the_networks_of_the_study_stride_as_their_names_say():
    """At the stock network's cost: an image of half of the size, the frequencies strided by 4."""
    options = (('iterations', 600), ('image', 0.5))
    config = load(*describe(Run('hrnet', 'spoken_numbers', 'spaced', 1., 0, options)))
    assert config.model.backbone.backbone.stem_strides == ((2, 1), (2, 1))
    assert config.model.decode_head.num_classes == len(CLASSES)
    assert config.val_dataloader.dataset.metainfo['classes'] == CLASSES


@pytest.mark.skipif(not has_espeak(), reason='needs the package espeak-ng')
def test_numbers_are_spoken_the_same_each_time(tmp_path):
    tool('spoken_numbers', '-o', 'one', '--train', 3, '--val', 2, cwd=tmp_path)
    tool('spoken_numbers', '-o', 'two', '--train', 2, '--val', 2, cwd=tmp_path)
    again = sorted((tmp_path / 'two').rglob('*.png'))
    assert len(again) == 8
    for path in again:
        assert path.read_bytes() == (tmp_path / 'one' / path.relative_to(
            tmp_path / 'two')).read_bytes()
    labels = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in again
              if 'labels' in str(path)]
    assert all(len(np.unique(label)) >= 4 and label.max() < len(CLASSES) for label in labels)


def test_without_espeak_it_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(module.ctypes, 'CDLL', missing)
    with pytest.raises(OSError, match='package espeak-ng'):
        prepare_spoken_numbers(tmp_path)
