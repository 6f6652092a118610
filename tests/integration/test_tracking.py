# SPDX-License-Identifier: Apache-2.0
import sqlite3

from .conftest import run_search


def test_mlflow_tracks_the_search(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, "--tracking", "mlflow", episodes=1)
    assert done.returncode == 0, done.stderr
    database = sqlite3.connect(tmp_path / "mlruns.db")
    logged = dict(database.execute("SELECT key, COUNT(*) FROM metrics GROUP BY key"))
    assert logged["train_loss"] >= 4 + 3 * 1 + 8  # warm-up, children, race and final training together
    assert logged["val_mean_dice"] >= 3
    database.close()
