# SPDX-License-Identifier: Apache-2.0
"""A folder of one process' own."""

import subprocess
import sys

import pytest

from monai_ronas.bundle import claim_folder


def test_a_folder_belongs_to_one_process_until_it_ends(tmp_path):
    code = (
        "import sys, time; from monai_ronas.bundle import claim_folder; claim_folder(sys.argv[1]); "
        "print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(ValueError, match="another search is running in output_dir"):
            claim_folder(tmp_path)
        other.kill()
        other.wait()
    claim_folder(tmp_path)
    claim_folder(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"):
        claim_folder(tmp_path / "file" / "output")
