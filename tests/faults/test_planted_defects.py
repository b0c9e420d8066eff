"""The proof of the proofs: with a defect planted, the check that is there for it has to turn red, and for the right
reason. Some checks are sweeps, others are tests of this suite, run once more in a process that has the defect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from crash_defects import DEFECTS
from sweep_requests import FULL, Sweep, sweep

from proof_ledger import Ledger

Check = TypeVar("Check", bound=tuple[Any, ...])
_TESTS = Path(__file__).parents[1]
#: Defect, the sweep that sees it, and words of what it says.
_CAUGHT: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("no-intent", "kill_sweep", "file", "the next run refused", {"step": 2}),
    ("no-intent", "order_check", "file", "before the intent was staged", {}),
    ("intent-after-the-data", "order_check", "directory", "before the intent was staged", {}),
    ("manifest-first", "kill_sweep", "file", "is not what the manifest names: missing", {"step": 2}),
    ("manifest-first", "lineage_kill_sweep", "first", "FileNotFoundError", {"step": 2}),
    ("no-withdrawal", "kill_sweep", "file-overwrite", "is not what the manifest names", {"step": 2}),
    ("data-not-synced", "order_check", "file", "before its bytes were durable", {}),
    ("data-not-synced", "lineage_order_check", "later", "before its bytes were durable", {}),
    (
        "data-not-synced",
        "power_sweep",
        "file",
        "is neither the old file",
        {"most": 8, "step": 4},
    ),
    ("names-not-synced", "order_check", "directory", "the commit came before the names", {}),
    ("names-not-synced", "power_sweep", "file-overwrite", "is not what the manifest names", {"most": 8, "step": 3}),
    ("parts-names-not-synced", "lineage_order_check", "later", "the commit came before the names", {}),
    ("parts-names-not-synced", "lineage_power_sweep", "later", "FileNotFoundError", {"most": 32}),
    ("staged-names-not-synced", "order_check", "file-overwrite", "before the intent was durable", {}),
    ("new-directory-not-synced", "order_check", "directory", "new directory was never made durable", {}),
    ("new-directory-not-synced", "power_sweep", "directory", "was acknowledged", {"most": 8, "step": 1000}),
    ("written-in-place", "kill_sweep", "file", "is neither the old file nor the new one", {"step": 2}),
    ("old-parts-first", "kill_sweep", "directory-overwrite", "is not what the manifest names: missing", {"step": 2}),
    ("manifest-in-place", "kill_sweep", "file", "the manifest is neither the old nor the new one", {}),
    ("recovery-forgets", "kill_sweep", "file", "the next run refused", {"step": 2}),
    ("recovery-forgets", "kill_sweep", "file-overwrite", "the none export is there", {"step": 2, "then_plain": True}),
    ("recovery-of-runs-forgets", "lineage_kill_sweep", "first", "was left behind", {"step": 2}),
    ("withdrawn-is-cleared", "kill_sweep", "file-overwrite", "the none export is there", {"then_plain": True}),
    ("withdrawn-is-taken-back", "kill_sweep", "file-overwrite", "the none export is there", {"then_plain": True}),
    ("committed-is-cleaned-up", "lineage_kill_sweep", "first", "is missing; no run was added", {}),
    (
        "kept-parts-are-taken-back",
        "kill_sweep",
        "directory-overwrite",
        "is not what the manifest",
        {"then_plain": True},
    ),
    ("sums-forgotten", "kill_sweep", "directory", "SHA256SUMS is gone", {"step": 3}),
    ("intent-cleared-first", "double_sweep", "file", "the next run refused", {"first": 1, "second": 1}),
    ("digest-not-looked-at", "intruder_sweep", "directory-strangers", "went over a file that is not ours", {}),
    ("recovery-sweeps-all", "kill_sweep", "directory-strangers", "the foreign file", {"step": 20}),
    ("sums-of-the-plan", "lineage_kill_sweep", "later", "the sums do not cover", {"step": 9}),
    ("rename-over", "intruder_sweep", "file", "the foreign file was changed", {}),
    ("short-writes-ignored", "short_write_sweep", "file", "is not what the manifest names", {}),
    ("short-writes-ignored", "lineage_short_write_sweep", "later", "a committed run is not whole", {}),
    ("fsync-tried-again", "error_sweep", "file", "an fsync was tried again", {"codes": ("EIO",)}),
    ("failure-leaves-all", "error_sweep", "directory", "was left behind", {"codes": ("ENOSPC",)}),
    ("unconfirmed-as-failed", "error_sweep", "directory", "raised IoError", {"codes": ("EIO",)}),
    (
        "unconfirmed-as-failed",
        "lineage_error_sweep",
        "later",
        "the run is there, but the error says",
        {"codes": ("EIO",)},
    ),
    ("fsync-error-swallowed", "error_sweep", "file", "no error was raised", {"codes": ("EIO",)}),
    ("fsync-error-swallowed", "lineage_error_sweep", "first", "no error was raised", {"codes": ("EIO",)}),
]


#: What is planted in code that is not there any more fails by itself, and shows nothing.
_MISPLANTED = re.compile(r"^E +E? *(?:TypeError|AttributeError|NameError|ImportError): ", re.MULTILINE)

_COMMIT = "faults/test_commit_sweep.py::test_"
_SUMS = "test_sums_that_are_gone_are_written_by_the_next_run_and_wrong_ones_stay_a_problem"
_LOCAL = "unit/test_local_publication.py::test_"
_LINEAGE = "acceptance/test_lineage.py::"
_HISTORIES = "property/test_lineage.py"
_TABLES = "property/test_table_lineage.py"
_CURSOR = "acceptance/test_cursor.py::test_"
_KEYS = "acceptance/test_keys.py::test_"
_COLUMNS = "acceptance/test_new_columns.py::test_"
_IDENTITY = "acceptance/test_identity.py::test_"
_GROWTH = "acceptance/test_growth.py::test_"
_REPAIR = "acceptance/test_repair.py::test_"
_LOG = "faults/test_store_log.py::test_"
_INCIDENTS = "faults/test_incidents.py::test_incident_"
_BETWEEN = "faults/test_incidents_of_runs.py::test_incident_"
_READING = "acceptance/test_incidents_reading.py::test_incident_"
_ONCE = "acceptance/test_reads_once.py::test_"
_SIGNALS = "faults/test_late_signals.py::test_what_is_said_after_a_signal_is_true"
_MANY = "acceptance/test_many_parts.py::test_"
_INJECTED = "acceptance/test_injected_destinations.py::test_"
_REPLACED = "acceptance/test_replaced_stores.py::test_"
_DAMAGED = "acceptance/test_damaged_stores.py::test_"
_OURS = "acceptance/test_destinations_are_ours.py::test_"
_INPUT = "acceptance/test_hostile_input.py::test_"
_MANIFESTS = "acceptance/test_hostile_manifests.py::test_"
_LOAD = "unit/test_ingest_load.py::test_"
_WHERE = "acceptance/test_where.py::test_"
_MEANING = "unit/test_model_where.py::test_"
_ASKED = "property/test_asking.py::test_"
_CHANCE = "property/test_where.py::test_"
_FLATTEN = "acceptance/test_flatten.py::test_"
_KILLED = "faults/test_worker_kills.py::test_"
_RUNNERS = "acceptance/test_runners.py::test_"
_TURNS = "acceptance/test_rollback_journals.py::test_"
_GROUPS = "acceptance/test_row_groups.py::test_"
_CHAIN = f"{_LINEAGE}test_a_damaged_chain_is_neither_verified_nor_continued_nor_restored"
#: Defect, the test that sees it, and words of what it says.
_SEEN: list[tuple[str, str, str]] = [
    ("lost-task-forgotten", f"{_KILLED}a_killed_worker_is_harmless", "is not whole"),
    ("anyone-admitted", f"{_RUNNERS}all_begin_again_when_something_is_committed_before_the_barrier", "assert not"),
    ("barrier-not-watched", f"{_RUNNERS}a_table_whose_views_cannot_be_proven_to_agree_has_no_ticket", "assert (1"),
    ("writers-not-noticed", f"{_TURNS}a_row_that_comes_below_what_was_read_is_in_the_next_run[5-all]", "KeyError"),
    ("places-not-moved", f"{_GROUPS}other_libraries_read_all_rows_in_order[pyarrow]", "Error"),
    ("places-off-by-one", f"{_GROUPS}other_libraries_read_all_rows_in_order[pyarrow]", "Error"),
    ("groups-out-of-order", f"{_GROUPS}other_libraries_read_all_rows_in_order[duckdb]", "At index 300 diff"),
    ("strangers-file-replaced", f"{_OURS}a_manifest_replaces_only_a_manifest", "assert (0"),
    ("store-replaced", f"{_OURS}a_manifest_never_replaces_the_store", "is the store itself"),
    ("sums-of-another-taken", f"{_OURS}sums_of_another_are_left_alone", "assert 0 == 2"),
    ("unconfirmed-as-failed", "acceptance/test_unconfirmed.py", "assert b'"),
    ("commit-cut-in-two", f"{_SIGNALS}[file-False-False]", "assert not"),
    ("clearing-up-cut-short", f"{_SIGNALS}[file-True-True]", "assert not"),
    ("late-signal-denies-the-commit", f"{_SIGNALS}[file-False-False]", "assert not"),
    (
        "any-sums-excused",
        f"{_LINEAGE}test_an_interrupted_export_excuses_no_sums_of_runs_that_are_gone",
        "assert (0, True) == (4, True)",
    ),
    ("retention-by-age", f"{_ONCE}no_run_is_added_to_a_lineage_that_lost_a_part[local]", "IntegrityError"),
    ("parts-not-counted", f"{_MANY}too_many_parts_are_refused_before_the_first", "parts are written"),
    ("other-hands-not-seen", f"{_LOCAL}a_file_that_was_changed_since_the_crash_is_left_alone", "mine by now"),
    (
        "lost-answer-is-a-failure",
        f"{_COMMIT}an_answer_that_is_lost_is_looked_after[memory-directory-happened]",
        "Unconfirmed",
    ),
    (
        "lost-answer-is-a-success",
        f"{_COMMIT}an_answer_that_is_lost_is_looked_after[memory-run-did not happen]",
        "AssertionError",
    ),
    (
        "undurable-commit-acknowledged",
        f"{_COMMIT}an_error_at_any_call_tells_the_truth[memory-directory-RefuseLate]",
        "was acknowledged",
    ),
    (
        "interrupt-after-the-commit-is-an-interrupt",
        f"{_COMMIT}an_interrupt_after_the_commit_is_a_success[memory-file-after]",
        "the commit was reported as an interrupt",
    ),
    ("missing-sums-never-written", f"{_LINEAGE}{_SUMS}", "assert"),
    ("recovery-without-sync", f"{_LOCAL}an_interrupt_at_the_commit_is_a_success_only_if_that_is_durable", "assert"),
    ("commit-replaces", f"{_BETWEEN}two_writers_commit_one_run_under_one_number", "DID NOT RAISE"),
    ("lock-not-held", f"{_LINEAGE}test_a_second_exporter_is_told_so", "assert (0, 0) == (11, 11)"),
    ("lock-not-held", f"{_BETWEEN}the_work_of_a_paused_writer_is_not_cleared", "DID NOT RAISE"),
    ("boundary-read-twice", f"{_LINEAGE}test_runs_add_up_and_an_empty_run_is_a_run", "assert"),
    ("boundary-read-twice", _HISTORIES, "state = Lineages()"),
    ("boundary-skipped", _HISTORIES, "state = Lineages()"),
    ("horizon-left-out", _HISTORIES, "state = Lineages()"),
    ("end-not-pinned", _HISTORIES, "state = Lineages()"),
    ("end-not-pinned", f"{_BETWEEN}the_end_and_the_rows_are_of_one_moment", "assert 0 == 4"),
    ("cursor-on-event-time", _HISTORIES, "state = Lineages()"),
    ("cursor-on-event-time", f"{_BETWEEN}events_of_one_instant_are_neither_lost_nor_repeated", "assert 0 == 100"),
    ("cursor-before-commit", _HISTORIES, "state = Lineages()"),
    ("empty-run-not-committed", f"{_LINEAGE}test_runs_add_up_and_an_empty_run_is_a_run", "000004.json"),
    ("predecessor-not-checked", f"{_CHAIN}[a fork]", "assert 0 == 4"),
    ("gap-not-checked", f"{_CHAIN}[a gap]", "DID NOT RAISE"),
    ("pins-not-checked", f"{_LINEAGE}test_what_a_lineage_was_begun_with_it_keeps", "assert 0 == 2"),
    ("rewound-store-not-seen", f"{_CURSOR}a_rotated_table_is_not_the_table_of_the_lineage", "assert 0 == 2"),
    ("rewound-store-not-seen", _HISTORIES, "state = Lineages()"),
    ("rewound-store-not-seen", _TABLES, "state = TableLineages()"),
    ("rewritten-rows-let-pass", f"{_CURSOR}a_table_without_ids_that_was_put_back_and_grew_loses_no_row", "assert (0, "),
    ("rewritten-rows-let-pass", _TABLES, "state = TableLineages()"),
    ("missing-rows-let-pass", _HISTORIES, "state = Lineages()"),
    ("forgotten-deletions-let-pass", f"{_CURSOR}a_row_that_a_backup_brings_back_is_exported", "assert 0 == 3"),
    ("burned-numbers-promised", f"{_CURSOR}numbers_that_were_burned_are_promised_to_nobody", "assert"),
    ("horizon-of-the-sequence", f"{_CURSOR}a_store_whose_numbering_was_deleted_is_exported_whole", "assert 0 == 300"),
    ("horizon-of-the-sequence", _HISTORIES, "state = Lineages()"),
    ("one-anchor-alone", f"{_CURSOR}a_store_that_was_put_back_grew_and_lost_just_the_last_row_is_seen", "assert"),
    ("anchors-by-key", f"{_CURSOR}a_table_without_ids_that_was_put_back_and_grew_loses_no_row", "assert (0, "),
    ("anchors-by-key", _TABLES, "state = TableLineages()"),
    (
        "held-rows-exported-again",
        f"{_LINEAGE}test_two_copies_of_a_store_in_turn_lose_nothing_and_double_nothing",
        "assert",
    ),
    ("held-rows-exported-again", _HISTORIES, "state = Lineages()"),
    ("held-rows-exported-again", _TABLES, "state = TableLineages()"),
    ("store-is-believed", f"{_REPAIR}a_row_that_was_changed_is_not_taken_for_the_one_that_was_exported", "assert (0, "),
    ("removed-parts-are-held", f"{_REPAIR}other_bytes_with_the_same_rows_take_a_run_of_maintenance", "assert 4 == 0"),
    ("waived-runs-are-counted", f"{_REPAIR}a_manifest_that_comes_back_counts_nothing_twice", "assert 4 == 0"),
    ("removed-files-stay", f"{_REPAIR}other_bytes_with_the_same_rows_take_a_run_of_maintenance", "assert not True"),
    ("new-columns-let-in", f"{_IDENTITY}columns_that_come_later_are_kept_out_and_told", "assert"),
    ("ties-of-a-key-left", f"{_KEYS}rows_of_any_key_come_once_also_if_they_tie_or_come_late[text, ties]", "assert"),
    ("keys-column-by-column", f"{_KEYS}rows_of_any_key_come_once_also_if_they_tie_or_come_late[real]", "assert"),
    ("keys-that-move-break", f"{_KEYS}a_row_that_is_updated_moves_up_and_is_told_where_it_was", "assert (3, "),
    ("mixed-keys-let-in", f"{_KEYS}what_orders_nothing_is_refused_by_name", "assert"),
    ("new-columns-compared", f"{_COLUMNS}rows_are_compared_by_the_columns_that_the_lineage_began_with", "assert"),
    ("any-store-accepted", f"{_IDENTITY}a_table_without_the_rows_is_not_accepted", "assert"),
    ("counts-alone-compared", f"{_GROWTH}a_late_row_and_a_deletion_do_not_cancel_out", "assert {} =="),
    ("late-rows-by-number-alone", f"{_GROWTH}rows_older_than_and_equal_to_the_newest_are_not_lost", "assert"),
    (
        "returned-rows-exported-again",
        f"{_GROWTH}rows_that_vanish_are_told_once_and_are_no_late_rows_when_they_return",
        "assert",
    ),
    (
        "vanished-rows-stay-known",
        f"{_GROWTH}rows_that_vanish_are_told_once_and_are_no_late_rows_when_they_return",
        "assert",
    ),
    ("old-late-rows-forgotten", f"{_GROWTH}a_late_row_outside_of_the_overlap_is_told_until_it_is_let_in", "assert"),
    ("assumed-in-silence", f"{_GROWTH}where_no_index_serves_it_growing_is_assumed_on_every_run", "assert"),
    ("broken-cursor-not-told", f"{_CURSOR}the_newest_row_of_a_table_may_be_deleted", "assert (0, 0) == (3, 0)"),
    ("log-not-synced", f"{_LOG}the_log_and_its_name_are_durable_before_the_run_counts", "is not in list"),
    ("log-error-swallowed", f"{_LOG}a_log_that_cannot_be_synced_is_told", "assert []"),
    ("commit-on-error", f"{_INCIDENTS}an_exception_while_writing_commits_nothing", "DID NOT RAISE"),
    (
        "limit-before-filter",
        "acceptance/test_export.py::test_filters_of_the_command_are_those_of_the_library",
        "assert",
    ),
    ("missing-rows-not-seen", f"{_DAMAGED}rows_behind_a_damaged_page_are_missed", "assert 0 == 7"),
    ("replaced-store-not-seen", f"{_REPLACED}a_store_that_is_replaced_while_it_is_read", "DID NOT RAISE"),
    (
        "readers-not-compared",
        f"{_REPLACED}one_reader_opens_another_file[a store]",
        "DID NOT RAISE",
    ),
    (
        "only-payloads-measured",
        "unit/test_storage_scan.py::test_every_column_counts_for_the_size_of_a_range[session_id-covered]",
        "a range is larger than was asked for",
    ),
    ("any-table-is-ours", f"{_DAMAGED}a_store_that_is_none_is_refused[a view for the blocks]", "assert (0, False) =="),
    ("claims-believed", f"{_DAMAGED}a_store_that_is_none_is_refused['few' for rows of 0]", "Traceback"),
    ("stream-without-a-path", f"{_INJECTED}an_arrow_file_is_a_file_wherever_it_lies", "Not an Arrow file"),
    ("destination-made-anew", f"{_INJECTED}a_run_is_added_by_the_destination_that_was_given", "assert False"),
    ("silent-row-limit", f"{_READING}there_is_no_hidden_limit_of_rows_or_time", "assert 100000 == 120000"),
    ("window-end-included", f"{_READING}windows_that_meet_share_no_event_and_miss_none", "assert"),
    ("codec-not-closed", "acceptance/test_verify.py::test_a_whole_export_is_whole", "diff: False != True"),
    ("digest-before-close", "acceptance/test_verify.py::test_a_whole_export_is_whole", "diff: False != True"),
    ("digest-before-close", f"{_INCIDENTS}the_manifest_is_of_the_bytes_that_are_stored", "assert"),
    ("verify-counts-only", "acceptance/test_verify.py::test_a_changed_part_is_found_and_named", "assert set() =="),
    (
        "repeated-part-not-seen",
        "unit/test_exporting_chain.py::test_manifests_that_say_what_cannot_be_are_found",
        "assert 0 == 1",
    ),
    (
        "restore-before-verification",
        "acceptance/test_reads_once.py::test_no_row_leaves_before_all_of_its_part_is_proven",
        "DID NOT RAISE",
    ),
    ("restore-not-idempotent", f"{_READING}a_restore_that_is_repeated_doubles_nothing", "assert"),
    ("restore-not-idempotent", _HISTORIES, "state = Lineages()"),
    ("messages-believed", f"{_INPUT}a_text_of_three_hundred_mebibytes[a.arrow]", "the record is longer"),
    ("pages-not-looked-at", f"{_INPUT}a_footer_that_says_less_than_the_pages", "peak_mib="),
    ("values-counted-once", f"{_INPUT}one_run_that_stands_for_many_rows", "AssertionError"),
    ("size-before-validation", f"{_INPUT}lists_that_point_beyond_themselves[a.arrow]", "signal 11"),
    (
        "size-before-validation",
        "faults/test_mutants.py::test_mutated_files_are_read_without_harm[arrow]",
        "ended with -11",
    ),
    ("quarantine-without-end", f"{_LOAD}a_full_quarantine_stops_the_load_and_tells_where", "DID NOT RAISE"),
    (
        "payloads-trusted",
        f"{_MANIFESTS}text_that_is_no_json_is_found_before_it_is_published[{{1}}-csv]",
        "DID NOT RAISE",
    ),
    ("sql-believed-exact", f"{_WHERE}what_sql_cannot_say_is_deleted_all_the_same", "assert"),
    ("sql-believed-exact", f"{_CHANCE}events_of_our_own_store_are_matched_by_sql_as_by_arrow", "AssertionError"),
    ("part-of-an-or-left-out", f"{_CHANCE}events_of_our_own_store_are_matched_by_sql_as_by_arrow", "AssertionError"),
    ("texts-pasted-into-sql", f"{_WHERE}quotes_and_sql_in_values_are_values", "assert [] == ['evil']"),
    ("sums-go-round", f"{_MEANING}what_a_condition_means", "assert False is True"),
    ("sums-go-round", f"{_CHANCE}any_dataset_is_matched_as_plain_python_does", "AssertionError"),
    ("integers-rounded", f"{_MEANING}what_a_condition_means", "assert False is True"),
    ("not-null-is-true", f"{_CHANCE}any_dataset_is_matched_as_plain_python_does", "AssertionError"),
    ("bounds-of-an-or", f"{_MEANING}bounds_of_time_are_told", "assert (86400000000"),
    ("columns-hold-what-they-should", f"{_ASKED}what_sqlite_is_asked_for_changes_nothing", "AssertionError"),
    ("columns-hold-what-they-should", f"{_ASKED}a_value_counts_as_what_its_column_makes_of_it", "assert"),
    ("texts-as-the-table-compares", f"{_ASKED}a_value_counts_as_what_its_column_makes_of_it", "assert"),
    ("digits-of-text-are-numbers", f"{_ASKED}a_value_counts_as_what_its_column_makes_of_it", "assert"),
    ("broken-times-left-out", f"{_ASKED}a_value_counts_as_what_its_column_makes_of_it", "assert"),
    ("rest-dropped", f"{_FLATTEN}the_library_flattens_as_the_command_does", "assert None =="),
    (
        "long-integers-as-floats",
        "unit/test_pipeline_flattening.py::test_types_follow_from_all_values[values3-json]",
        "'data.a': 'float64'",
    ),
    (
        "columns-settled-by-each-run",
        f"{_FLATTEN}the_first_run_of_a_lineage_settles_the_columns_of_all",
        "begun with another steps",
    ),
    ("manifest-built-first", f"{_MANIFESTS}a_manifest_of_forty_mebibytes_of_junk[True-{{}},]", "peak_mib="),
]


def _taken(checks: list[Check]) -> list[Check]:
    """Of the checks that see a defect, the first; all of them in a full proof."""
    first = {check[0]: check for check in reversed([*_CAUGHT, *_SEEN])}
    return [check for check in checks if FULL or first[check[0]] is check]


def _checked(defect: str, node: str) -> subprocess.CompletedProcess[str]:
    """Run a test with the defect in the product."""
    path, _, name = node.partition("::")
    place = f"{_TESTS / path}::{name}" if name else str(_TESTS / path)
    paths = [str(Path(__file__).parent), str(_TESTS), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "plant", "-p", "no:cacheprovider", "-x", "--tb=short", place],
        cwd=_TESTS.parent,
        env={
            **os.environ,
            "PENSTOCK_DEFECT": defect,
            "PENSTOCK_PROOF": "0.1",
            "PENSTOCK_PROOF_SEED": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
) -> Iterator[dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]]]:
    """Every selected check, begun in order, two at a time."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    chosen = [item.callspec.params for item in items if "node" in item.callspec.params]
    with ThreadPoolExecutor(2) as pool:
        yield {(one["defect"], one["node"]): pool.submit(_checked, one["defect"], one["node"]) for one in chosen}


@pytest.mark.parametrize(
    ("wanted", "defect", "said"),
    [
        pytest.param(*sweep(function, scenario, defect=defect, **more).values, defect, said, id=f"{defect}-{function}")
        for defect, function, scenario, said, more in _taken(_CAUGHT)
    ],
)
def test_a_sweep_sees_a_planted_defect(
    wanted: Sweep, defect: str, said: str, counted: Callable[[Sweep], dict[str, Any]], ledger: Ledger
) -> None:
    wrong = counted(wanted)["wrong"]
    seen = any(said in text for text in wrong)
    ledger.defect(defect, f"{wanted.sweep} of {wanted.scenario}", caught=seen)
    assert seen, wrong[:5]


@pytest.mark.parametrize(("defect", "node", "said"), _taken(_SEEN))
def test_a_test_sees_a_planted_defect(
    defect: str,
    node: str,
    said: str,
    outcomes: dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]],
    ledger: Ledger,
) -> None:
    done = outcomes[defect, node].result()
    seen = done.returncode == 1 and "1 failed" in done.stdout and said in done.stdout
    seen = seen and not _MISPLANTED.search(done.stdout)
    ledger.defect(defect, node, caught=seen)
    assert seen, done.stdout[-3000:] + done.stderr[-1000:]


def test_every_defect_is_caught_by_something() -> None:
    assert {defect for defect, *_ in (*_CAUGHT, *_SEEN)} == set(DEFECTS)
    assert len(DEFECTS) >= 46
