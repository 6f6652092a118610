# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest

from monai_ronas.data import DatasetError, open_study


def test_study_of_the_phantom(phantom, tmp_path):
    study = open_study(phantom, tmp_path, fold=0, num_folds=5, reward_fraction=0.5, seed=0)
    uses = [study.cases(use) for use in ("train", "reward", "test")]
    assert [len(u) for u in uses] == [2, 2, 1]
    assert len({c.name for use in uses for c in use}) == 5
    report = json.loads((tmp_path / "dataset_report.json").read_text())
    assert report["split"] == study.split.to_dict()
    assert report["fingerprint"] == json.loads(json.dumps(study.fingerprint.to_dict()))
    name, digest = study.identity()["data set"]
    assert (name, len(digest)) == (study.dataset.name, 64)
    other = dataclasses.replace(study, fingerprint=dataclasses.replace(study.fingerprint, max_shape=(90, 90, 90)))
    assert other.identity()["data set"] != study.identity()["data set"]
    summary = study.summary()
    for text in ("5 cases", "2 train, 2 reward, 1 test", study.fingerprint.name):
        assert text in summary
    for size, largest in zip(study.search_shape, study.fingerprint.max_shape, strict=True):
        assert size <= largest


def test_one_huge_case_does_not_set_the_patch(maker, tmp_path):
    import numpy as np

    rng = np.random.default_rng(1)
    for n in range(5):
        shape = (40, 40, 40) if n == 4 else (16, 16, 16)
        label = np.zeros(shape, dtype=np.uint8)
        label[3:9, 3:9, 3:9] = 1
        maker.add(f"case{n}", image=rng.uniform(1, 2, shape).astype(np.float32), label=label)
    study = open_study(maker.write(), tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)
    assert study.fingerprint.max_shape == (40, 40, 40)
    assert study.search_shape == (20, 20, 20)


def test_faults_are_reported_in_the_file_before_the_sentence(maker, tmp_path):
    import numpy as np

    for n in range(5):
        maker.add(f"case{n}")
    maker.add("bad", image=np.full((9, 8, 7), np.nan, dtype=np.float32))
    with pytest.raises(DatasetError, match="bad"):
        open_study(maker.write(), tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)
    report = json.loads((tmp_path / "dataset_report.json").read_text())
    assert report["faults"]
    assert "fingerprint" not in report


def test_the_fingerprint_knows_nothing_of_the_test_fold(phantom, maker, tmp_path):
    import numpy as np

    def write(shape):
        for n in range(5):
            size = shape if n == held_out else (16, 16, 16)
            label = np.zeros(size, dtype=np.uint8)
            label[3:9, 3:9, 3:9] = 1
            maker.add(f"case{n}", image=np.random.default_rng(n).uniform(1, 2, size).astype(np.float32), label=label)
        root = maker.write()
        maker.content["training"].clear()
        return open_study(root, tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)

    held_out = -1
    first = write((16, 16, 16))
    (name,) = first.split.test
    held_out = int(name.removeprefix("case"))
    assert write((40, 44, 48)).fingerprint == first.fingerprint
