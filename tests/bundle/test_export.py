# SPDX-License-Identifier: Apache-2.0
"""The exported files against the supernet that they come from."""

import json
import random
import shutil
from dataclasses import replace

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import load_net_with_metadata

from monai_ronas.bundle import BundleExporter, export
from monai_ronas.bundle.members import read_members
from monai_ronas.errors import find_error
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.utils import InferenceChoice, TemperatureFit

from .exporting import CASES, FACTS, result_of, supernet_of


@pytest.mark.parametrize(("axes", "averaged"), [((0, 1, 2), True), ((1,), True), ((1,), False), ((), True)])
def test_flips_are_those_of_the_search(study, tmp_path, axes, averaged):
    supernet = supernet_of(study)
    exporter = BundleExporter(
        tmp_path / "bundle", replace(study, flip_axes=axes), supernet, **FACTS, test_time_flips=averaged
    )
    bundle = exporter.run(result_of(supernet.space.base), seconds=1.0)
    inference, train = (
        json.loads((bundle / "configs" / f"{name}.json").read_text()) for name in ("inference", "train")
    )
    assert inference["inferer"]["flips"] == (list(axes) if averaged else [])
    assert train["train"]["inferer"]["flips"] == []
    transforms = train["train"]["preprocessing"]["transforms"]
    assert [t["spatial_axis"] for t in transforms if t["_target_"] == "RandFlipd"] == list(axes)
    readme = (bundle / "docs" / "README.md").read_text()
    assert ("--inferer#flips [1]" in readme) == (axes == (1,) and not averaged)


@pytest.mark.parametrize("seen", [True, False])
def test_the_bundle_says_what_the_final_training_had(study, tmp_path, seen):
    supernet = supernet_of(study)
    exporter = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS, seen=seen, augmented=seen)
    bundle = exporter.run(result_of(supernet.space.base), seconds=1.0)
    split = json.loads((bundle / "docs" / "data_split.json").read_text())
    assert split["final"] == sorted(split["train"] + (split["reward"] if seen else []))
    text = (bundle / "docs" / "README.md").read_text()
    assert ("\nThe final training had the reward cases as well.\n" in text) == seen
    assert ("- training crops turned, scaled and changed in intensity, beside flips\n" in text) == seen
    assert ("- training crops not augmented but for flips\n" in text) != seen


def test_training_goes_on_with_the_batch_and_precision_of_the_search(study, tmp_path):
    supernet = supernet_of(study)
    for amp, expected in ((False, False), (True, "$monai_ronas.utils.has_fast_half(@device)")):
        bundle = BundleExporter(tmp_path / "bundle", study, supernet, **{**FACTS, "amp": amp}).run(
            result_of(supernet.space.base), seconds=1.0
        )
        config = json.loads((bundle / "configs" / "train.json").read_text())
        assert (config["batch_size"], config["amp"]) == (3, expected)


def test_a_bundle_takes_the_words_of_the_command_line_and_trains_with_crops_as_they_are(study, tmp_path):
    supernet = supernet_of(study)
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(
        result_of(supernet.space.base), seconds=1.0
    )
    config = ConfigParser.load_config_file(bundle / "configs" / "train.json")
    for word, meant in (("true", True), ("False", False)):
        parser = ConfigParser({**config, "amp": word})
        assert [parser.get_parsed_content(f"{name}#inferer").amp for name in ("train", "validate")] == [meant, meant]
    seen = []
    for name in ("train", "validate"):
        parser.get_parsed_content(f"{name}#inferer")(torch.zeros(1, 1, 16, 16, 16), lambda x: seen.append(x.shape) or x)
    assert seen == [(1, 1, 16, 16, 16), (1, 1, *supernet.space.patch(supernet.space.base))]
    with pytest.raises(RuntimeError) as refused:
        ConfigParser({**config, "amp": "perhaps"}).get_parsed_content("train#inferer")
    assert 'Got "perhaps", expected a value from' in str(refused.value.__cause__)


@pytest.mark.parametrize("seed", range(3))
def test_exported_files_give_the_supernets_output_bit_for_bit(study, tmp_path, seed):
    supernet = supernet_of(study)
    architecture = supernet.space.sample(random.Random(seed))
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(architecture), seconds=1.0)
    config = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    assert config.pop("_target_") == "monai_ronas.networks.nets.RonasUNet"
    derived = RonasUNet(**config).eval()
    derived.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True), strict=True)
    scripted = torch.jit.load(bundle / "models" / "model.ts").eval()
    _, carried, _ = load_net_with_metadata(str(bundle / "models" / "model.ts"))
    assert carried == json.loads((bundle / "configs" / "metadata.json").read_text())
    supernet.select(architecture)
    image = torch.randn(1, 1, 32, 32, 16, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = supernet(image)
        assert torch.equal(derived(image), expected)
        assert torch.equal(scripted(image), expected)


def test_an_export_that_is_not_the_supernets_leaves_nothing_behind(study, tmp_path, monkeypatch):
    supernet = supernet_of(study)
    derive = RonasSuperNet.derive

    def wrong(self, architecture):
        network = derive(self, architecture)
        torch.manual_seed(0)
        torch.nn.init.normal_(network.heads[0].weight)
        return network

    monkeypatch.setattr(RonasSuperNet, "derive", wrong)
    exporter = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS)
    with pytest.raises(RuntimeError, match="does not give the output"):
        exporter.run(result_of(supernet.space.base), seconds=1.0)
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_is_replaced_and_other_files_in_its_folder_stay(study, tmp_path):
    supernet = supernet_of(study)
    BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.base), seconds=1.0)
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    (tmp_path / "bundle" / "configs" / "old.json").write_text("{}")
    with torch.no_grad():
        supernet.heads[0].weight.zero_()
    BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.largest), seconds=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "bundle" / "configs" / "old.json").read_text() == "{}"
    weights = torch.load(tmp_path / "bundle" / "models" / "model.pt", weights_only=True)
    assert not weights["heads.0.weight"].any()


@pytest.mark.parametrize(("name", "change"), [("inference", {"preprocessing": None}), ("train", {"validate": None})])
def test_a_bundle_whose_configuration_does_not_work_is_not_left_behind(study, tmp_path, monkeypatch, name, change):
    config = getattr(export, f"{name}_config")
    monkeypatch.setattr(export, f"{name}_config", lambda facts: {**config(facts), **change})
    supernet = supernet_of(study)
    with pytest.raises(Exception, match=r"."):
        BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.base), seconds=1.0)
    assert list(tmp_path.iterdir()) == []


def test_members_and_temperature_are_those_of_the_search(study, tmp_path):
    supernet = supernet_of(study)
    exporter, found = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS), result_of(supernet.space.base)
    single = supernet.derive(supernet.space.base, deep_supervision=False).state_dict()
    members = tuple({name: (weight + n).half() for name, weight in single.items()} for n in (1, 2))
    fit = TemperatureFit(1.23456, 2, 0.05, 0.01, seen=True)
    bundle = exporter.run(replace(found, members=members, temperature=fit), seconds=1.0)
    inference = json.loads((bundle / "configs" / "inference.json").read_text())
    assert (inference["uncertainty"], inference["temperature"]) == (False, 1.2346)
    kept = read_members(bundle / "models")
    assert len(kept) == 2
    network = RonasUNet(**{key: value for key, value in inference["network_def"].items() if key != "_target_"})
    for member, given in zip(kept, members, strict=True):
        network.load_state_dict(member, strict=True)
        assert all(torch.equal(member[name], weight) for name, weight in given.items())
    size = [(bundle / "models" / name).stat().st_size for name in ("members.pth", "model.pt")]
    assert size[0] < 1.2 * size[1]  # two halves
    readme = (bundle / "docs" / "README.md").read_text()
    assert "2 states of its weights" in readme
    assert "The temperature is 1.23, fitted on 2 reward cases, which the final training has seen" in readme
    again = exporter.run(found, seconds=1.0)
    assert not (again / "models" / "members.pth").exists()
    assert json.loads((again / "configs" / "inference.json").read_text())["temperature"] == 1.0
    weights = torch.load(again / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(weights[name], weight) for name, weight in single.items())


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("measured", [CASES, {}])
def test_what_was_measured_decides_between_one_shot_and_windows(study, tmp_path, windows, measured):
    supernet = supernet_of(study)
    choice = InferenceChoice(windows, "Because of $this.", **measured)
    found = replace(result_of(supernet.space.base), inference=choice)
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(found, seconds=1.0)
    limits = {
        name: json.loads((bundle / "configs" / f"{name}.json").read_text())["inferer"]["max_voxels"]
        for name in ("inference", "evaluate")
    }
    assert set(limits.values()) == {0 if windows else 10**6}
    train = json.loads((bundle / "configs" / "train.json").read_text())
    assert train["train"]["inferer"]["max_voxels"] is None
    assert train["validate"]["inferer"]["max_voxels"] == (0 if windows else 10**6)
    text = (bundle / "docs" / "README.md").read_text()
    assert "One shot or windows, chosen at the end of the search:\nBecause of this." in text
    assert ("Volumes are segmented in half-overlapping windows of" in text) == windows
    assert ("are segmented in one shot; larger ones in" in text) != windows
    assert ("| a1 | 0.7000 | 0.7500 |\n| b | 0.7400 | 0.8000 |" in text) == bool(measured)
    assert "final training has seen these cases" not in text


@pytest.mark.parametrize(("shape", "device"), [((64, 64, 64), None), (((512, 512, 400)), "cpu")])
def test_a_large_prediction_is_put_together_on_the_cpu(study, tmp_path, shape, device):
    supernet = supernet_of(study)
    labels = {value: f"label {value}" for value in range(10)}
    large = replace(study, fingerprint=replace(study.fingerprint, max_shape=shape, labels=labels))
    supernet = RonasSuperNet(supernet.space, 1, 10, channels=(4, 6, 8, 10)).eval()
    bundle = BundleExporter(tmp_path / "bundle", large, supernet, **FACTS).run(
        result_of(supernet.space.base), seconds=1.0
    )
    for name, inferer, expected in (
        ("inference", ("inferer",), device),
        ("evaluate", ("inferer",), device),
        ("train", ("validate", "inferer"), device),
        ("train", ("train", "inferer"), None),
    ):
        content = json.loads((bundle / "configs" / f"{name}.json").read_text())
        for key in inferer:
            content = content[key]
        assert content["stitch_device"] == expected


@pytest.mark.parametrize("configs", [["inference"], ["evaluate"], ["train"], ["train", "multi_gpu_train"]])
def test_without_its_weights_a_bundle_says_so_before_it_looks_at_data(study, tmp_path, configs):
    exporter = BundleExporter(tmp_path / "bundle", study, supernet_of(study), **FACTS)
    bundle = exporter.run(result_of(exporter.network.space.base), seconds=1.0)
    parser = ConfigParser(ConfigParser.load_config_files([bundle / "configs" / f"{name}.json" for name in configs]))
    parser["bundle_root"], parser["dataset_dir"] = str(bundle), "nowhere"
    assert parser.get_parsed_content("run#0") is None
    weights = bundle / "models" / "model.pt"
    weights.unlink()
    parser.parse(reset=True)
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("run")
    assert str(find_error(refused.value)).startswith(f"there is no '{weights}', the weights of the bundle: give")


def test_a_training_that_did_without_cases_ends_as_a_failure_but_in_monai_label(study, tmp_path):
    supernet = supernet_of(study)
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(
        result_of(supernet.space.base), seconds=1.0
    )
    data = tmp_path / "data"
    shutil.copytree(study.dataset.root, data)
    lost = study.split.train[0]
    next((data / "labelsTr").glob(f"{lost}.*")).unlink()
    for config in (["train"], ["train", "multi_gpu_train"]):
        parser = ConfigParser(ConfigParser.load_config_files([bundle / "configs" / f"{name}.json" for name in config]))
        parser["bundle_root"], parser["dataset_dir"] = str(bundle), str(data)
        last = f"run#{len(parser['run']) - 1}"
        with pytest.raises(RuntimeError) as refused:
            parser.get_parsed_content(last)
        assert str(find_error(refused.value)).startswith(f"1 case(s) were left out: '{lost}': ")
        parser["dataset_dir"] = "nowhere"  # as in MONAI Label, which gives the cases themselves
        parser["train#dataset#data"] = [{"image": "a.nii.gz", "label": "b.nii.gz"}]
        parser.parse(reset=True)
        assert parser.get_parsed_content(last) is None
