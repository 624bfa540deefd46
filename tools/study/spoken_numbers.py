"""Make spectrograms of spoken numbers, labelled by the kind of sound in each column.

    python tools/study spoken_numbers

Debian's package espeak-ng speaks; it names each phoneme and the sample at which it begins.
"""

import argparse
import ctypes
import multiprocessing
from pathlib import Path

import numpy as np

from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.files import make_folder, write_image

# By the first letters of espeak-ng's names of phonemes in English; the rest are vowels, and a
# diphthong is what it begins with.
CLASSES = ('silence', 'front vowel', 'other vowel', 'plosive', 'fricative', 'nasal', 'approximant')
_STARTS = {'_': 0, **dict.fromkeys('iIeEa', 1), **dict.fromkeys('tdk', 3),
           **dict.fromkeys('fvTszh', 4), 'n': 5, **dict.fromkeys('wlr;', 6)}
_NAMES = {'IR': 2}  # Scottish, as in "thirty": a central vowel
# No voice of the validation speaks in the training.
ACCENTS = ('en', 'en-us', 'en-gb-scotland')
VOICES = dict(train=('m1', 'm3', 'm4', 'm6', 'm7', 'f1', 'f3', 'f4'), val=('m2', 'm5', 'f2', 'f5'))
BANDS, FRAMES = 64, 128  # of an image: height and width
HOP_MS, WINDOW_MS = 10, 25
TOP_HZ = 8000.0
RANGE_DB = 60.0  # from black to white
QUIET_DB = 45.0  # below the loudest column nothing sounds, as in a plosive's closure
NOISE_DB = (10.0, 30.0)  # how far the noise is below the speech


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (('type', ctypes.c_int), ('identifier', ctypes.c_uint), ('text', ctypes.c_int),
                ('length', ctypes.c_int), ('audio_ms', ctypes.c_int), ('sample', ctypes.c_int),
                ('user', ctypes.c_void_p), ('phoneme', ctypes.c_char * 8))


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int,
                             ctypes.POINTER(_Event))
_END, _PHONEME = 0, 7  # types of events
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_RATE, _PITCH = 1, 3  # parameters


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL('libespeak-ng.so.1')
    except OSError as error:
        raise OSError(f"espeak-ng is not there ({error}); install Debian's package espeak-ng"
                      ) from error


class Speaker:
    """espeak-ng's library; one at a time in a process.

    Raises:
        OSError: it is not installed.
    """

    def __init__(self):
        self._library = _library()
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        self.hop = HOP_MS * self.rate // 1000
        self._callback = _Callback(self._take)  # the library keeps no reference
        self._library.espeak_SetSynthCallback(self._callback)
        self._parts, self._phonemes = [], []

    def say(self, text: str, voice: str, speed: int, pitch: int
            ) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Samples of a text, and ``(first sample, name)`` of each phoneme.

        Args:
            text: to be spoken.
            voice: such as ``'en-us+f2'``.
            speed: words per minute.
            pitch: 0 to 100.
        """
        self._parts, self._phonemes = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f'espeak-ng has no voice {voice!r}')
        self._library.espeak_SetParameter(_RATE, speed, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 0, 0, _UTF8, None, None)
        return np.concatenate(self._parts).astype(np.float64), self._phonemes

    def _take(self, samples, count, events):
        if count:
            self._parts.append(np.ctypeslib.as_array(samples, (count, )).copy())
        number = 0
        while events[number].type != _END:
            event = events[number]
            if event.type == _PHONEME:
                self._phonemes.append((event.sample, event.phoneme.decode(errors='replace')))
            number += 1
        return 0


def prepare_spoken_numbers(out_dir: str | Path, train: int = 1000, val: int = 400, seed: int = 0
                           ) -> dict[str, int]:
    """Write PNG files to ``images/{train,val}`` and ``labels/{train,val}`` in ``out_dir``.

    An image of 64 x 128 pixels is 1.28 s of a spoken number in white noise: a row is one of 64
    bands of equal width in mel, the highest frequency on top, a column is 10 ms, and 8 bits hold
    the 60 dB below the loudest pixel. All rows of a label map say the same. The same arguments
    give the same files, in a process that has not spoken before; those of an earlier call go.

    Args:
        out_dir: folder of the new data set.
        train: number of training images.
        val: number of validation images, which other voices speak.
        seed: of numbers, voices, speeds, pitches and noise.

    Returns:
        Images by split.

    Raises:
        ValueError: ``seed`` is negative.
        OSError: espeak-ng is not installed.
    """
    if seed < 0:
        raise ValueError(f'seed must be 0 or more, got {seed}')
    _library()
    make_folder(out_dir)
    counts = dict(train=train, val=val)
    # What espeak-ng says depends a little on what it said before: a process for each image.
    fork = multiprocessing.get_context('fork')
    for split, count in counts.items():
        for old in Path(out_dir).glob(f'*/{split}/number_*.png'):
            old.unlink()
        with fork.Pool(maxtasksperchild=1) as pool:
            drawn = pool.imap(_draw, ((seed, split, index) for index in range(count)))
            for index, arrays in enumerate(drawn):
                for folder, array in zip(('images', 'labels'), arrays):
                    write_image(Path(out_dir, folder, split, f'number_{index:04d}.png'), array)
    return counts


def _draw(which: tuple[int, str, int]) -> tuple[np.ndarray, np.ndarray]:
    seed, split, index = which
    return draw_number(Speaker(), VOICES[split],
                       np.random.default_rng((seed, list(VOICES).index(split), index)))


def draw_number(speaker: Speaker, voices: tuple[str, ...], rng: np.random.Generator
                ) -> tuple[np.ndarray, np.ndarray]:
    """A spectrogram and its label map, both ``(64, 128)``, 8 bits."""
    waveform, phonemes = speaker.say(
        str(rng.integers(10_000, 1_000_000)), f'{rng.choice(ACCENTS)}+{rng.choice(voices)}',
        int(rng.integers(130, 230)), int(rng.integers(30, 70)))
    begin = rng.integers(max(1, len(waveform) - FRAMES * speaker.hop))
    loudness = np.sqrt(np.mean(waveform ** 2))
    noise = rng.normal(0, loudness * 10 ** (-rng.uniform(*NOISE_DB) / 20), len(waveform))
    columns = begin + speaker.hop * np.arange(FRAMES)  # samples in their middle
    starts = [start for start, _ in phonemes]
    spoken = np.searchsorted(starts, columns, 'right') - 1
    # espeak-ng begins a plosive at its release: the closure would belong to the sound before.
    power = (_windows(waveform, columns, speaker.hop) ** 2).mean(1)
    silent = (spoken < 0) | (power < power.max() * 10 ** (-QUIET_DB / 10))
    classes = np.array([class_of(phonemes[n][1]) for n in spoken])
    label = np.where(silent, 0, classes).astype(np.uint8)
    return (log_mel(waveform + noise, columns, speaker.rate),
            np.repeat(label[None], BANDS, axis=0))


def class_of(phoneme: str) -> int:
    """Index in ``CLASSES``, of espeak-ng's name of a phoneme."""
    return _NAMES.get(phoneme, _STARTS.get(phoneme[:1], 2))


def log_mel(waveform: np.ndarray, columns: np.ndarray, rate: int) -> np.ndarray:
    """Spectrogram ``(bands, columns)`` of 8 bits, around the samples ``columns``."""
    length = WINDOW_MS * rate // 1000
    windows = _windows(waveform, columns, length) * np.hanning(length)
    power = np.abs(np.fft.rfft(windows, 1024)) ** 2
    # Triangles between points that lie evenly in mel (Stevens and Volkmann, 1940).
    top = 2595 * np.log10(1 + TOP_HZ / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(1024, 1 / rate)
    low, middle, high = (edges[n:n + BANDS, None] for n in range(3))
    filters = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))
    decibels = 10 * np.log10(filters.clip(0) @ power.T + 1e-9)[::-1]
    scaled = 255 * (1 + (decibels - decibels.max()) / RANGE_DB)
    return scaled.clip(0, 255).round().astype(np.uint8)


def _windows(waveform: np.ndarray, columns: np.ndarray, length: int) -> np.ndarray:
    """Samples ``(columns, length)`` around each of ``columns``; silence beyond the ends."""
    beyond = max(0, columns[-1] - len(waveform)) + length
    padded = np.pad(waveform, (length // 2, beyond))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[columns]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('-o', '--out-dir', type=Path, default=Path('data/spoken_numbers'),
                        help='folder to write to')
    parser.add_argument('--train', type=positive_int, default=1000, help='number of images')
    parser.add_argument('--val', type=positive_int, default=400, help='number of images')
    parser.add_argument('--seed', type=int, default=0, help='of numbers, voices and noise')
    args = parser.parse_args()
    counts = prepare_spoken_numbers(args.out_dir, args.train, args.val, args.seed)
    print(f'{args.out_dir}: ' + ', '.join(f'{n} {split} images' for split, n in counts.items()))


if __name__ == '__main__':
    main()
