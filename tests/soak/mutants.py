"""Deliberate breakages of the code, each with the ordinary test that has to notice it.

python -m tests.soak.mutants [name ...]
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One place where `old` becomes `new`, and the test that must fail."""

    name: str
    path: str
    old: str
    new: str
    test: str


COLLECTOR, LAKE = "tests/flows/collector", "tests/lake"

MUTANTS = [
    Mutant(
        "the log is not fsynced", "lake/wal.py",
        "                os.fsync(self._handle)\n            except", "                pass\n            except",
        f"{LAKE}/test_wal.py::test_failed_fsync_is_final_for_the_file",
    ),
    Mutant(
        "a new log's folder is not fsynced", "lake/wal.py",
        "        os.fsync(self._handle)\n        fsync(self.folder)", "        os.fsync(self._handle)",
        f"{LAKE}/test_wal.py::test_names_outlast_a_power_cut",
    ),
    Mutant(
        "the checksum leaves the header out", "lake/wal.py",
        "crc32(payload, crc32(head))", "crc32(payload)",
        f"{LAKE}/test_wal.py::test_what_was_written_comes_back",
    ),
    Mutant(
        "a record out of turn is taken", "lake/wal.py",
        "(expected is not None and number != expected)", "False",
        f"{LAKE}/test_wal.py::test_record_of_another_place",
    ),
    Mutant(
        "a failed fsync is asked again on the same file", "lake/wal.py",
        "            except OSError as exc:\n                self.close()", "            except OSError as exc:",
        f"{LAKE}/test_wal.py::test_failed_fsync_is_final_for_the_file",
    ),
    Mutant(
        "numbers that were written twice are read twice", "lake/wal.py",
        "if record.number > last:", "if True:",
        f"{LAKE}/test_wal.py::test_failed_fsync_is_final_for_the_file",
    ),
    Mutant(
        "the log is let go of too early", "lake/wal.py",
        "if following <= before:", "if True:",
        f"{LAKE}/test_wal.py::test_forget",
    ),
    Mutant(
        "books do not go on from what was known", "flows/collector/recover.py",
        "        pipeline.restore(state)", "        pass",
        f"{COLLECTOR}/test_recover.py::test_from_what_was_known",
    ),
    Mutant(
        "an outage begins with the restart", "flows/collector/recover.py",
        "pipeline.absent(venue, received, max(now, received), seq)", "pipeline.absent(venue, now, now, seq)",
        f"{COLLECTOR}/test_recover.py::test_outage_is_a_gap",
    ),
    Mutant(
        "damage goes without a gap", "flows/collector/recover.py",
        "pipeline.absent(venue, start, record.received, seq, Gap.SEGMENT_DAMAGED)", "pass",
        f"{COLLECTOR}/test_recover.py::test_damage_costs_one_segment",
    ),
    Mutant(
        "ticks are not told again", "flows/collector/pipeline.py",
        "                self.tick(item.received, item.seq)", "                pass",
        f"{COLLECTOR}/test_pipeline.py::test_time_is_told",
    ),
    Mutant(
        "rows are shown before they are on disk", "flows/collector/sealing.py",
        "        await self._commits.reached(number_of(last, self._life.epoch))\n        await loop",
        "        await loop",
        f"{COLLECTOR}/test_sealing.py::test_rows_are_shown_when_they_are_on_disk",
    ),
    Mutant(
        "published rows are hot as well", "lake/parts.py",
        "if not any(span.first <= one.first_seq <= span.last for span in lives):", "if True:",
        f"{LAKE}/test_hot.py::test_what_is_published_is_not_hot",
    ),
    Mutant(
        "a footer that cannot be had covers nothing", "lake/parts.py",
        "except (LakeError, FileNotFoundError):", "except (LakeError, OSError):",
        f"{LAKE}/test_bucket.py::test_a_footer_that_cannot_be_had",
    ),
    Mutant(
        "what our own code fails on is skipped", "flows/collector/pipeline.py",
        'self._count(dead(f"failed on: {type(exc).__name__}", frame.payload), frame, minute, WHOLE)', "pass",
        f"{COLLECTOR}/test_pipeline.py::test_own_code_that_fails",
    ),
    Mutant(
        "rows of which no frame could be made are let go", "flows/collector/sealing.py",
        "            put_back(segment, drained)", "            pass",
        f"{COLLECTOR}/test_sealing.py::test_rows_that_make_no_frame_are_kept",
    ),
    Mutant(
        "hot batches are not checked", "lake/hot.py",
        "if int(told[b\"crc\"]) != crc32(batch.serialize()):", "if False:",
        f"{LAKE}/test_hot.py::test_flipped_byte",
    ),
    Mutant(
        "the reserve of the disk is not kept", "flows/collector/commits.py",
        "self._intake.halt = Gap.DISK_RESERVE if is_low else None", "self._intake.halt = None",
        f"{COLLECTOR}/test_commits.py::test_reserve",
    ),
    Mutant(
        "bytes that are not on disk do not count", "flows/collector/intake.py",
        " or self._recorder.waiting >= self._most", "",
        f"{COLLECTOR}/test_commits.py::test_stalled_disk",
    ),
    Mutant(
        "the epoch is left out of a file's name", "lake/layout.py",
        'return f"{self.collector}-{self.epoch}-{self.first}-{self.last}"',
        'return f"{self.collector}-{self.first}-{self.last}"',
        f"{LAKE}/test_layout.py",
    ),
    Mutant(
        "inputs go before the merged file is there", "lake/compact.py",
        "        rows = _publish(store, known, wanted.target, parts, ranges)\n    except LakeUnwritable:",
        "        store.trash(parts, now)\n        rows = _publish(store, known, wanted.target, parts, ranges)\n"
        "    except LakeUnwritable:",
        f"{LAKE}/test_compact.py",
    ),
    Mutant(
        "readers do not drop what is covered", "lake/covers.py",
        "return [file for file, ranges in files.items() if not ranges or not is_covered(file, ranges)]",
        "return list(files)",
        f"{LAKE}/test_covers.py",
    ),
    Mutant(
        "a heartbeat counts as life", "flows/collector/connection.py",
        "            if is_data(payload):", "            self._data = self._heard\n            if is_data(payload):",
        f"{COLLECTOR}/test_live.py::test_pongs_are_no_life",
    ),
    Mutant(
        "a missing size is 0", "flows/venues/kalshi.py",
        "        if paid is None or amount is None or event is None:",
        "        amount = amount or '0'\n        if paid is None or event is None:",
        "tests/flows/venues/test_kalshi.py",
    ),
    Mutant(
        "a file is written in its place", "lake/files.py",
        'temp = place.with_name(f".{place.name}.{os.getpid()}.tmp")', "temp = place",
        f"{LAKE}/test_files.py",
    ),
]  # fmt: skip


def survives(mutant: Mutant) -> str | None:
    """Why the breakage was not noticed; None if the test fails, as it should."""
    source = (ROOT / mutant.path).read_text()
    if source.count(mutant.old) != 1:
        return f"the place is there {source.count(mutant.old)} times, not once"
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        ignored = shutil.ignore_patterns("__pycache__", "data")
        for name in ("lake", "flows", "app", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        for name in ("pyproject.toml", "prefect.yaml", ".env.example"):
            shutil.copy(ROOT / name, copy / name)
        (copy / mutant.path).write_text(source.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not soak", mutant.test]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode == 1:
        return None
    return f"the test ended with {done.returncode}: {done.stdout[-300:]}"


def main(names: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    alive = 0
    for mutant in chosen:
        reason = survives(mutant)
        alive += reason is not None
        verdict = "caught" if reason is None else f"SURVIVED: {reason}"
        print(f"{mutant.name} ({mutant.path}): {verdict} by {mutant.test}", flush=True)
    print(f"{len(chosen)} breakages, {alive} not noticed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
