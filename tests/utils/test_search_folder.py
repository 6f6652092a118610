# SPDX-License-Identifier: Apache-2.0
from monai_ronas.utils import accept_reports, report_folder


def test_reports_of_a_search_stay_until_a_command_goes_on_with_it(tmp_path):
    assert report_folder(tmp_path) == tmp_path
    (tmp_path / "checkpoints").mkdir()
    accept_reports(tmp_path)  # there are none
    (tmp_path / "plan.json").write_text("old")
    checked = report_folder(tmp_path)
    assert checked == tmp_path / "checked"
    checked.mkdir()
    (checked / "dataset_report.json").write_text("new")
    accept_reports(tmp_path)
    assert (tmp_path / "dataset_report.json").read_text() == "new"
    assert (tmp_path / "plan.json").read_text() == "old"
    assert not checked.exists()
