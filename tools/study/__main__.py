"""What trains our studies and writes our pages, for those who have a clone: none is a user's tool.

    python tools/study evidence run --jobs 2
"""

import runpy
import sys
from pathlib import Path

COMMANDS = ('fashion_scenes', 'spoken_numbers', 'evidence', 'classification_evidence', 'fit_models',
            'models', 'table3', 'gallery', 'draw_dynopool', 'real_sizes', 'training_time',
            'size_steps', 'resume_soak')

if __name__ == '__main__':
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name not in COMMANDS:
        raise SystemExit(f'usage: python tools/study COMMAND ...; the commands: '
                         f'{", ".join(COMMANDS)}. COMMAND --help tells more')
    del sys.argv[1]
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module(f'study.{name}', run_name='__main__', alter_sys=True)
