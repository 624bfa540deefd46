"""Spectrograms of spoken numbers: where a tone lies, what the labels say, and espeak-ng itself."""

from ctypes.util import find_library

import cv2
import numpy as np
import pytest

from study import spoken_numbers as module
from study.candidates import describe, gmacs, load
from study.runs import Run
from study.spoken_numbers import (
    ACCENTS,
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
    """Speaks every text as a plosive of 1 s, a vowel of .5 s, and a pause; keeps what is asked."""

    rate, hop = RATE, HOP

    def __init__(self):
        self.asked = []

    def say(self, *asked):
        self.asked.append(asked)
        time = np.arange(3 * RATE) / RATE
        return 1000 * np.sin(2 * np.pi * 500 * time), [(0, 't'), (RATE, 'i:'), (24_000, '_:')]


class Bang(Tones):
    """Silence, then a vowel, whose phoneme begins too early."""

    def say(self, *asked):
        waveform, _ = super().say(*asked)
        waveform[:20_000] = 0
        return waveform[:28_000], [(0, '_:'), (18_000, 'i:')]


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
    ('_:', 'silence'), ('aI', 'front vowel'), ('o@', 'other vowel'), ('IR', 'other vowel'),
    ('t#', 'plosive'), ('T', 'fricative'), ('n', 'nasal'), ('w', 'approximant'),
    (';', 'approximant')])
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
    """What is loud begins in the column whose label says so; what is quiet is silence."""
    begins_at = set()
    for seed in range(8):
        image, label = draw_number(Bang(), VOICES['val'], np.random.default_rng(seed))
        row = image[:, -1].argmax()
        begins = int(np.flatnonzero(label[0] == class_of('i:'))[0])
        assert abs(begins - int(np.flatnonzero(image[row] > 240)[0])) <= 1
        assert not label[0, :begins].any()
        begins_at.add(begins)
    assert len(begins_at) > 4  # the image begins anywhere in the number


def test_texts_voices_speeds_and_pitches_are_drawn_from_all():
    speakers = {split: Tones() for split in VOICES}
    for split, speaker in speakers.items():
        for seed in range(200):
            draw_number(speaker, VOICES[split], np.random.default_rng(seed))
        texts, voices, speeds, pitches = zip(*speaker.asked)
        assert {len(text) for text in texts} == {5, 6} and all(map(str.isdigit, texts))
        assert set(voices) == {f'{accent}+{voice}' for accent in ACCENTS
                               for voice in VOICES[split]}
        assert min(speeds) < 140 and max(speeds) > 215 and min(pitches) < 34 and max(pitches) > 65
    assert not set(VOICES['train']) & set(VOICES['val'])


def test_the_noise_is_10_to_30_db_below_the_speech():
    """In the rows far from the tone; a band of noise has its share of all frequencies."""
    below = []
    for seed in range(60):
        image, _ = draw_number(Tones(), VOICES['val'], np.random.default_rng(seed))
        image = image.astype(float) * 60 / 255
        below.append(image.max() - image[:8].mean())
    # The tone has all of its power in one band, the top bands have 1/50 of the noise's each:
    # 17 dB less, and the mean of a noise's decibels is 2.5 dB below its power.
    assert 10 + 10 < min(below) < 10 + 24 and 30 + 10 < max(below) < 30 + 24


def test_the_networks_of_the_study_stride_as_their_names_say():
    """Of half of the bands, at the stock network's cost."""
    steps = ('iterations', 600)
    run = Run('hrnet', 'spoken_numbers', 'spaced', 1., 0, (steps, ('size', '32x128')))
    config = load(*describe(run))
    assert config.model.backbone.backbone.stem_strides == ((2, 1), (2, 2))
    assert config.model.decode_head.num_classes == len(CLASSES)
    assert config.val_dataloader.dataset.metainfo['classes'] == CLASSES
    stock = gmacs(*describe(Run('hrnet', 'spoken_numbers', 'stock', 1., 0, (steps, ))))
    assert gmacs(*describe(run)) == pytest.approx(stock, rel=0.005)


@pytest.mark.skipif(find_library('espeak-ng') is None, reason='needs the package espeak-ng')
def test_numbers_are_spoken_the_same_each_time(tmp_path):
    """Whatever comes after them; what an earlier call left goes."""
    def files(name, *options):
        tool('spoken_numbers', '-o', name, '--val', 2, *options, cwd=tmp_path)
        return {str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in sorted((tmp_path / name).rglob('*.png'))}

    three, two, other = files('one', '--train', 3), files('one', '--train', 2), files(
        'two', '--train', 2, '--seed', 1)
    assert len(three) == 10 and len(two) == 8
    assert all(three[name] == content for name, content in two.items())
    images = [content for name, content in (*three.items(), *other.items()) if 'images' in name]
    assert len(set(images)) == len(images)
    labels = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
              for path in (tmp_path / 'one/labels').rglob('*.png')]
    assert all(len(np.unique(label)) >= 4 and label.max() < len(CLASSES) for label in labels)


def test_a_negative_seed_leaves_an_earlier_data_set_alone(tmp_path):
    old = tmp_path / 'images' / 'train' / 'number_0000.png'
    old.parent.mkdir(parents=True)
    old.touch()
    with pytest.raises(ValueError, match='seed must be 0 or more, got -1'):
        prepare_spoken_numbers(tmp_path, seed=-1)
    assert old.exists()


def test_without_espeak_it_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(module.ctypes, 'CDLL', missing)
    with pytest.raises(OSError, match='package espeak-ng'):
        prepare_spoken_numbers(tmp_path)
