"""The recipe of a run, as rows of a table."""

from mmseg_dynopool.analysis.logs import RunLog
from mmseg_dynopool.analysis.recipe import recipe
from mmseg_dynopool.analysis.work_dir import Run
from mmseg_dynopool.checkpoints import Checkpoint
from support.parts_network import HRNET, parts_config


def test_parts_of_other_names():
    for others, network, pools in (
            ([], 'ResNet', "rule='before'"),
            ([HRNET], 'ResNet + DynOPoolHRNet',
             "image_encoder: rule='before'; others.0: scale=0.5 (default)")):
        run = Run('net', parts_config(others=others), Checkpoint('net.pth', {}), RunLog('net', {}))
        rows = recipe(run)
        assert (rows['Network'], rows['DynOPools']) == (f'PartsSegmentor: {network}', pools)
