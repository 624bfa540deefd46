"""docs/models.md and configs/metafile.yml, from what was measured and trained."""

import json
import statistics
from pathlib import Path

import yaml

from .tables import spread
from .template import render

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'docs' / 'models'
LINES = FOLDER / 'measured.jsonl'
COLLECTION = 'DynOPool'
TASKS = {True: ('Semantic Segmentation', 'mIoU'), False: ('Image Classification', 'Accuracy')}


def read_measured() -> dict[tuple[str, str], dict]:
    """The lines of ``tools/study models measure`` by config and device."""
    lines = map(json.loads, LINES.read_text().splitlines()) if LINES.exists() else ()
    return {(line['config'], line['device']): line for line in lines}


def read_scores() -> dict[str, dict]:
    """By config: ``values``, a score of each seed in per cent, and ``log``, its file in docs/.

    Of trainings of a config as it stands, in the evidence or with a log beside the page. Of a
    learned network also ``ratios``, the multiply-adds relative to the start.
    """
    scores: dict[str, dict] = {}
    for study, key, stock, folder in (
            ('evidence', 'miou', 'stock', ''),
            ('classification_evidence', 'accuracy', 'fixed', 'classification/')):
        log = f'{study}/runs.jsonl'
        for line in map(json.loads, (ROOT / 'docs' / log).read_text().splitlines()):
            config = folder + line.get('config', 'evidence_vgg_fashion.py')
            if (line['method'], line['target_ratio'], line['data']) in (
                    (stock, 1, 'isotropic'), (stock, 1, 'mni152'), (stock, 1, 'plain')):
                scores.setdefault(config, dict(log=log, values=[]))['values'].append(line[key])
    for log in sorted(FOLDER.glob('*.seed*.json')):
        last: dict = {}
        for line in log.read_text().splitlines():
            last.update(json.loads(line))
        score = scores.setdefault(log.name.partition('.')[0] + '.py', dict(
            log=f'models/{log.name}', values=[], ratios=[]))
        score['values'].append(last['mIoU'])
        score['ratios'] += [last['gmacs_ratio']] if 'gmacs_ratio' in last else []
    return scores


def page() -> str:
    """docs/models.md: a table for each data set, a row for each config."""
    measured, scores = read_measured(), read_scores()
    cpu = {name: line for (name, _), line in measured.items() if line['on_cpu']}
    gpu = {name: line for (name, _), line in measured.items() if not line['on_cpu']}
    data: dict[str, list[str]] = {}
    for name in sorted(cpu, key=lambda name: (not cpu[name]['segments'], name)):
        data.setdefault(cpu[name]['data'], []).append(name)
    return render(
        'models', data=data, cpu=cpu, gpu=gpu, scores=scores, spread=spread,
        mean=statistics.mean,
        devices=sorted({line['device'] for line in measured.values()}))


def metafile() -> str:
    """configs/metafile.yml, which mim and mmengine read."""
    scores, models = read_scores(), []
    for (name, _), line in sorted(read_measured().items()):
        if not line['on_cpu']:
            continue
        model = dict(
            Name=Path(name).stem, Config=f'configs/{name}',
            Metadata={'Training Data': line['data'], 'Parameters': line['params'],
                      'FLOPs': round(1e9 * line['gmacs'])})
        model['In Collection'] = COLLECTION
        if name in scores:
            task, metric = TASKS[line['segments']]
            model['Results'] = [dict(Task=task, Dataset=line['data'], Metrics={
                metric: round(statistics.mean(scores[name]['values']), 2)})]
        models.append(model)
    collection = dict(Name=COLLECTION, Paper=dict(
        URL='https://arxiv.org/abs/2205.15254',
        Title='Pooling Revisited: Your Receptive Field is Suboptimal'))
    return ('# Written by tools/study models page. FLOPs are multiply-adds of one image at the '
            'crop.\n' + yaml.safe_dump(dict(Collections=[collection], Models=models),
                                       sort_keys=False))
