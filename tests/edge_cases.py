"""The edge cases that the product promises to survive, and which tests show that it does.

`python -m tests.edge_cases` writes `EDGE_CASES.md`; `test_edge_cases.py` fails when that file is no
longer true: a test it names is gone, or a case has neither a test nor a reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.unit.identity import test_edge_cases_identity
from tests.unit.providers import test_edge_cases_answers

TESTS = Path(__file__).parent
LISTING = TESTS / "EDGE_CASES.md"
TABLES: tuple[ModuleType, ...] = (test_edge_cases_identity, test_edge_cases_answers)
SPELLINGS = "unit/identity/test_identity.py"
"""Its tests carry the case in their names: `test_e12_...`."""


class Case(NamedTuple):
    """One line of the tables of edge cases."""

    id: str
    text: str
    shown_by: tuple[str, ...] = ()
    """`file::test` for what the two tables do not show."""
    gap: str = ""
    """What is left out, and why."""


def _case(id_: str, text: str, *shown_by: str, gap: str = "") -> Case:
    return Case(id_, text, shown_by, gap)


GARBAGE = "acceptance/test_garbage.py::test_"
CHANGES = "acceptance/test_changes_in_flight.py::test_"
RETRIES = "acceptance/test_retries.py::test_"
ASKING = "acceptance/test_asking.py::test_"
FIRST = "acceptance/test_first_start.py::test_"
CRASH = "acceptance/test_crash.py::test_"
WRITERS = "acceptance/test_writers.py::test_"
HASH_KEY = "acceptance/test_hash_key.py::test_"
HELD = "acceptance/test_held_leads.py::test_"
APART = "integration/queue/test_apart.py::test_"
SIGNALS = "acceptance/test_signals.py::test_"
IDS = "acceptance/test_ids.py::test_"
CORES = "acceptance/test_cores.py::test_"
PAUSES = "acceptance/test_backfill_pauses.py::test_"
FORGED = "acceptance/test_forged_book.py::test_"
PAID = "integration/calls/test_paid.py::test_"
LYING = "acceptance/test_left_lying.py::test_"
SWEEP = "integration/intake/test_sweep.py::test_"
UNMOVED = "integration/queue/test_unmoved.py::test_"
COLLATION = "integration/queue/test_collation.py::test_"
REPLIES = "integration/calls/test_replies.py::test_"
USAGE = "integration/calls/test_usage.py::test_"
BUCKETS = "integration/limits/test_buckets.py::test_"
LANES = "integration/queue/test_lanes.py::test_"
SETTLE = "integration/queue/test_settle.py::test_"
WATCHER = "integration/intake/test_watcher.py::test_"
REQUIRED = "acceptance/test_required.py::test_"
BRAKES = "acceptance/test_brakes.py::test_"
WORD = "acceptance/test_vendors_word.py::test_"
HTTP = "unit/providers/test_provider_http.py::test_"
REFUSALS = "unit/providers/test_hunter_refusals.py::test_"
DNS = "unit/providers/test_mail_dns.py::test_"
MEANT = "acceptance/test_what_a_text_means.py::test_"
TEXTS = "unit/identity/test_what_a_text_means.py::test_"
SHAPE = "unit/providers/test_shape.py::test_"
EMPLOYER = "unit/enrichment/test_employer.py::test_"
BREAKER = "unit/calls/test_breaker.py::test_"
STATUSES = (
    "acceptance/test_statuses.py::test_an_answer_becomes_what_it_means_on_the_lead_and_on_the_bill"
)
"""Every status and dialect of every vendor; P10 to P13 are about time and are shown elsewhere."""
BODIES = (
    "unit/providers/test_bodies.py::test_any_body_becomes_an_answer_that_can_be_stored",
    "acceptance/test_bodies.py::test_leads_of_vendors_that_say_anything_end_well",
)
PRIVACY = "acceptance/test_privacy.py::test_"
SUBJECT = "acceptance/test_subject.py::test_"
FORGETTING = "acceptance/test_forgetting.py::test_"

CASES = (
    _case("E1", "missing, empty or blank address", GARBAGE + "a_lead_without_an_address_and_a_company_is_skipped"),
    _case(
        "E2",
        "an address that is no text",
        GARBAGE + "an_address_that_is_no_text_fails_the_lead",
        GARBAGE + "no_address_no_name_and_no_key_left_the_daemon",
    ),
    _case("E3", "white space and invisible characters"),
    _case("E4", "an address in a wrapping, or several"),
    _case("E5", "upper case"),
    _case("E6", "international domains"),
    _case("E7", "a local part beyond ASCII", "unit/providers/test_hunter.py::test_each_status_code_has_its_own_meaning"),
    _case("E8", "quoted local parts, comments, IP literals"),
    _case(
        "E9",
        "malformed or too long",
        GARBAGE + "a_malformed_address_fails_the_lead",
        GARBAGE + "an_address_that_is_not_utf8_fails_the_lead_and_stays_as_it_is",
    ),
    _case("E10", "a +tag", PAID + "an_answer_is_kept_for_every_daemon_and_spelling"),
    _case("E11", "Google's dots and hosts", ASKING + "googles_dots_and_hosts_are_one_mailbox"),
    _case("E12", "free-mail domains"),
    _case("E13", "mistyped free-mail domains"),
    _case("E14", "relays and forwarders"),
    _case("E15", "disposable addresses", "unit/enrichment/test_enrichment.py::test_a_lead_not_worth_a_call_is_skipped_and_only_free_providers_are_asked"),
    _case("E16", "role accounts"),
    _case("E17", "addresses of machines"),
    _case("E18", "schools"),
    _case("E19", "sub-domains"),
    _case("E20", "offices below a government's suffix"),
    _case("E21", "tenants of a platform"),
    _case("E22", "a bare public suffix"),
    _case("E23", "reserved domains"),
    _case("E24", "the operator's own domains"),
    _case("E25", "domains of vendors and bulk senders", gap="no list comes along: ENRICHER_INTERNAL_DOMAINS skips those that the operator names"),
    _case("E26", "a website in any shape", gap="nothing is ever fetched from a lead's website"),
    _case("E27", "a company domain that is not the address's"),
    _case("E28", "several domains of one company", "unit/providers/test_clearbit_record.py::test_a_record_under_another_domain_is_still_the_companys"),
    _case(
        "E29",
        "a domain that does not exist, or takes no mail",
        DNS + "where_nobody_can_be_written_to_no_check_is_paid_for",
        DNS + "an_answer_is_kept_for_its_time_a_refusal_too",
        DNS + "trouble_with_the_dns_fails_no_lead",
        DNS + "it_is_off_unless_the_operator_turns_it_on",
    ),
    _case("P1", "200 without a record", STATUSES),
    _case("P2", "404 as a miss, charged or not", STATUSES, PAID + "what_costs_nothing_is_given_back_to_the_budget"),
    _case("P3", "202, still working on it", STATUSES, RETRIES + "odd_answers_are_sat_out_within_one_attempt_and_paid_for_once", PAID + "polling_for_an_answer_that_is_paid_for_costs_nothing_more"),
    _case("P4", "Hunter's 222", STATUSES, RETRIES + "odd_answers_are_sat_out_within_one_attempt_and_paid_for_once"),
    _case("P5", "Hunter's 403 as the rate limit", STATUSES, REFUSALS + "unexplained_403s_wait_longer_each_time_and_end_as_a_refused_key"),
    _case("P6", "Hunter's 429 as the used-up plan", STATUSES, REFUSALS + "a_429_without_hint_asks_the_account_which_limit_it_is"),
    _case(
        "P7",
        "451, the person objected",
        STATUSES,
        RETRIES + "who_objected_to_being_processed_is_left_alone",
        "unit/enrichment/test_conclude.py::test_an_objection_drops_what_is_about_the_person_and_keeps_the_company",
        "unit/enrichment/test_conclude.py::test_an_objection_drops_what_others_said_of_the_person_as_well",
    ),
    _case("P8", "402, out of credits", STATUSES, RETRIES + "a_vendor_that_refuses_everybody_is_asked_once_and_holds_up_nothing_else"),
    _case("P9", "401 or 403, the key is refused", STATUSES, RETRIES + "a_vendor_that_refuses_everybody_is_asked_once_and_holds_up_nothing_else"),
    _case("P10", "429 with a time to wait", "acceptance/test_limits.py::test_a_vendor_that_says_when_to_come_back_is_left_in_peace_until_then", BUCKETS + "a_pause_that_one_process_learnt_holds_for_the_others"),
    _case("P11", "no rate headers at all", "unit/limits/test_limits.py::test_many_who_always_call_stay_within_every_window"),
    _case("P12", "several windows at once", BUCKETS + "slots_keep_every_window_in_any_sequence_of_reservations"),
    _case("P13", "limits that all replicas share", BUCKETS + "three_processes_use_their_common_limit_and_never_exceed_it"),
    _case("P14", "empty rate headers"),
    _case("P15", "a low likelihood", "unit/enrichment/test_waterfall.py::test_an_unlikely_answer_spares_nobody_the_question", "unit/values/test_alternatives.py::test_what_is_more_likely_about_somebody_else_is_only_an_alternative"),
    _case(
        "P16",
        "an answer about somebody else, or about somebody who moved",
        EMPLOYER + "a_job_at_another_company_is_held_and_the_lead_says_so",
        EMPLOYER + "nobody_is_moved_to_the_other_company",
        "unit/providers/test_pdl_record.py::test_a_record_that_names_other_addresses_is_somebody_elses",
        "unit/values/test_alternatives.py::test_what_is_more_likely_about_somebody_else_is_only_an_alternative",
        "unit/enrichment/test_carried.py::test_another_mailbox_takes_the_person_and_leaves_the_company",
        gap="names are not compared: people marry, and vendors translate",
    ),
    _case("P17", "values that say nothing", "unit/values/test_merge_properties.py::test_no_good_value_is_ever_lost"),
    _case("P18", "providers that disagree", "unit/values/test_alternatives.py::test_what_lost_is_kept_with_who_said_it", "unit/values/test_merge_properties.py::test_who_ranks_worse_never_replaces_a_value_of_who_ranks_better"),
    _case("P19", "one thing in several shapes", BODIES[0], "unit/values/test_field_types.py::test_two_spellings_mean_the_same", "unit/values/test_field_types.py::test_a_count_and_a_range_that_contradict_each_other_both_stay"),
    _case(
        "P20",
        "bodies that are no answer",
        *BODIES,
        STATUSES,
        HTTP + "a_gzip_bomb_is_a_body_that_is_too_large",
        HTTP + "a_body_of_50_megabytes_is_not_read_to_its_end",
        HTTP + "a_charset_that_lies_is_no_answer",
        GARBAGE + "what_is_no_answer_fails_the_lead_with_the_names_of_those_who_gave_it",
    ),
    _case("P21", "names with dots, and documents of 16 MB", *BODIES, GARBAGE + "a_document_that_has_no_room_for_the_result_fails_and_is_not_paid_for_again", "unit/values/test_field_types.py::test_a_field_that_is_not_in_the_table_is_kept_as_far_as_it_can_be_stored"),
    _case("P22", "a time-out after the vendor did the work", PAID + "a_daemon_that_dies_is_replaced_and_its_call_stands_as_ambiguous", USAGE + "time_outs_stay_charged_against_the_budget"),
    _case(
        "P23",
        "a field that was renamed or is gone",
        SHAPE + "each_changed_answer_counts_and_is_told_once_by_its_keys_alone",
        SHAPE + "what_the_vendors_send_today_has_not_drifted",
        "unit/providers/test_clearbit_record.py::test_a_full_record_becomes_company_data",
        "unit/values/test_merge.py::test_stored_values_without_a_newer_one_stay_with_their_origin",
    ),
    _case("P24", "a vendor that is gone", BREAKER + "it_opens_when_so_many_different_questions_in_a_row_got_no_answer", "unit/providers/test_provider_sockets.py::test_a_port_where_nobody_listens_is_unavailable"),
    _case("P25", "catch-all and risky addresses", "unit/providers/test_hunter_verdict.py::test_every_documented_status_is_stored_as_it_is"),
    _case("L1", "the same address many times in a second", "integration/calls/test_flights.py::test_of_500_who_ask_the_same_at_once_one_asks_and_all_have_the_answer"),
    _case("L2", "500 leads of one company", PAID + "500_leads_of_one_company_at_three_daemons_make_one_call"),
    _case("L3", "deleted in flight", CHANGES + "a_lead_that_is_deleted_while_in_work_stays_deleted", SETTLE + "a_lead_deleted_in_flight_is_not_resurrected"),
    _case("L4", "the address changed in flight", CHANGES + "a_lead_whose_address_changes_while_in_work_gets_what_belongs_to_the_new_one"),
    _case("L5", "somebody writes to the lead meanwhile", CHANGES + "other_changes_to_a_lead_in_work_are_kept_and_cost_nothing", SETTLE + "a_score_that_came_while_the_lead_was_in_work_counts"),
    _case("L6", "our own writes", "integration/intake/test_changes.py::test_what_we_write_ourselves_does_not_ring", "integration/queue/test_leads.py::test_admitting_again_modifies_nothing_so_no_event_echoes"),
    _case("L7", "two leads merged by a writer", WRITERS + "what_a_writer_changes_on_a_finished_lead_does_not_enrich_it_again", CHANGES + "a_lead_that_is_replaced_while_in_work_is_enriched_as_what_it_is_now", gap="merging leads is the writer's; a finished one that survives stays finished"),
    _case("L8", "a first start on a big collection", FIRST + "leads_from_before_the_first_start_stay_byte_for_byte_what_they_were", ASKING + "a_plan_counts_what_is_stored_already_and_who_objected"),
    _case("L9", "down for a day", FIRST + "leads_inserted_while_nobody_watched_are_enriched_after_the_next_start", "chaos/test_backlog.py::test_a_backlog_from_a_time_when_nothing_ran_is_worked_off_in_flat_memory"),
    _case("L10", "an import of a million", LANES + "a_backfilled_lead_never_goes_before_a_fresh_one", "integration/queue/test_claims.py::test_every_tenth_claim_takes_the_oldest_whatever_its_priority"),
    _case("L11", "a budget raised after it was used up", "integration/queue/test_holds.py::test_held_leads_are_spread_over_the_time_that_the_provider_takes_for_them", USAGE + "which_budgets_have_room_is_known_at_the_start"),
    _case("L12", "a crash between the paid answer and the write", CRASH + "what_one_provider_found_survives_a_kill_while_another_hangs", PAID + "a_call_is_seen_through_when_everybody_has_given_up"),
    _case("L13", "a storm of inserts", PAID + "nobody_is_asked_beyond_the_budget", "integration/calls/test_quotas.py::test_three_processes_at_once_admit_exactly_the_quota", gap="caps are for a day, a month and a plan, not for an hour"),
    _case("L14", "a resume token that is too old", WATCHER + "leads_inserted_in_a_gap_are_found_and_the_history_is_left_alone", "integration/intake/test_changes.py::test_a_token_that_is_refused_is_followed_by_a_start_by_time"),
    _case("L15", "clocks that are wrong", "chaos/test_clock.py::test_daemons_an_hour_fast_and_slow_share_the_work_and_take_over_in_time", USAGE + "the_day_is_the_servers_however_wrong_ours_is"),
    _case("L16", "the same contact again within the vendor's free time", PAID + "each_answer_lasts_for_its_own_time", ASKING + "a_lead_that_is_asked_for_is_enriched_again"),
    _case("G1", "a person who wants to be forgotten", ASKING + "a_person_is_forgotten_in_every_spelling_and_nobody_else"),
    _case("G2", "where each value is from", "unit/values/test_merge.py::test_every_value_names_its_origin_and_no_more", "unit/enrichment/test_conclude.py::test_data_carries_when_it_was_found_its_score_and_its_origin", gap="the time is that of the last run, not of each value"),
    _case("G3", "how long raw answers are kept", "integration/calls/test_cache.py::test_documents_go_by_themselves_when_their_answer_has_expired"),
    _case(
        "G4",
        "addresses, names and keys in what the daemon says",
        PRIVACY + "no_address_no_name_and_no_key_is_in_the_log",
        PRIVACY + "no_address_no_name_and_no_key_is_served",
        PRIVACY + "no_address_no_name_and_no_key_is_in_the_reason_on_a_lead",
        GARBAGE + "no_address_no_name_and_no_key_left_the_daemon",
    ),
    _case("G5", "leads that may not be looked up", GARBAGE + "a_status_that_is_none_of_ours_is_left_to_whoever_wrote_it", gap="there is no rule on fields of a lead; a writer keeps one out by a status of its own"),
    _case("G6", "a vendor's list of those who objected later", "acceptance/test_permission.py::test_what_was_found_before_somebody_objected_is_erased_from_their_other_leads", gap="no vendor's list is fetched; PDL's ids stay on the lead as `pdl_id`"),
    _case("G7", "keys in URLs", PRIVACY + "no_key_was_in_the_url_of_any_call"),
    _case("W1", "corrections, replacements and stale copies at any moment, and book-keeping that a save has spoilt", *(SUBJECT + name for name in ("a_corrected_domain_is_asked_about_though_the_mistyped_one_was_not_known", "a_corrected_address_leaves_the_company_and_who_told_of_it", "a_corrected_domain_does_not_throw_the_person_away", "a_corrected_question_has_all_its_attempts", "what_a_copy_from_before_took_away_is_found_again_at_no_cost", "another_spelling_is_the_same_and_asks_nobody_again", "whoever_takes_a_leads_place_gets_nothing_of_it", "data_written_back_from_an_old_copy_is_not_taken_for_the_new_persons", "a_lead_that_is_set_back_has_its_own_data_again_and_costs_nothing", "an_address_that_is_taken_away_takes_the_person_along", "a_lead_that_names_nobody_any_more_holds_nobodys_data", "a_lead_that_is_replaced_in_work_is_enriched_as_what_it_is_now", "who_takes_a_lead_over_goes_on_with_what_is_about_the_same", "what_others_put_beside_the_data_stays_whoever_it_is_about", "an_older_versions_mark_proves_whose_the_data_is", "data_of_ours_that_nothing_proves_is_found_anew")), LYING + "a_lead_in_work_that_nobody_holds_is_work_again_within_a_lease", LYING + "a_completed_lead_that_is_replaced_without_its_book_keeping_is_refreshed", SWEEP + "who_is_in_work_and_never_due_is_work_again", SWEEP + "who_is_in_work_and_held_by_nobody_is_work_again", SWEEP + "every_other_lead_is_left_as_it_is", SWEEP + "of_two_daemons_that_sweep_at_once_one_takes_a_lead_up", SWEEP + "what_others_left_half_way_before_the_first_start_is_history", SWEEP + "a_completed_lead_without_a_date_is_refreshed_like_the_others", SWEEP + "what_was_completed_before_the_first_start_is_nobodys_work", SWEEP + "many_leads_that_are_overdue_are_spread_in_time", *(SUBJECT + name for name in ("data_that_lost_every_proof_goes_where_it_names_another_company", "a_result_that_is_refused_leaves_nothing_of_somebody_else")), "integration/queue/test_worker.py::test_a_bug_leaves_no_data_about_somebody_else_on_the_lead", SUBJECT + "a_colleague_gets_no_data_that_lost_every_proof"),
    _case("W2", "typing errors in front of a host name", TEXTS + "only_what_stands_at_the_front_of_a_host_is_taken_off"),
    _case("W3", "a page on somebody else's site, a host with many owners", TEXTS + "a_redirect_stands_for_the_site_it_leads_to", TEXTS + "a_page_on_somebody_elses_site_stands_for_nobody", TEXTS + "a_tenant_stands_for_itself_and_never_for_the_platform", "unit/settings/test_hosts_in_the_wild.py::test_nearly_every_host_in_the_wild_is_read_right", "unit/settings/test_hosts_in_the_wild.py::test_whoever_writes_from_a_platforms_own_domain_works_there", MEANT + "only_whoever_is_meant_is_asked_about_and_paid_for", MEANT + "the_operators_words_reach_everything_that_identifies_a_lead", "unit/identity/test_ordinary_inputs.py::test_an_ordinary_page_stands_for_its_own_company", gap="a list of platforms is never complete: ENRICHER_PLATFORM_DOMAINS adds to it"),
    _case("W4", "desks and machines in other languages", TEXTS + "a_desk_costs_a_company_look_up_and_no_persons", TEXTS + "a_persons_name_is_no_desk", TEXTS + "a_machines_address_is_skipped", "unit/identity/test_desks_in_the_wild.py::test_nearly_every_desk_in_the_wild_is_known", "unit/identity/test_desks_in_the_wild.py::test_hardly_any_person_is_taken_for_a_desk", "unit/identity/test_more_in_the_wild.py::test_nearly_every_desk_is_known", "unit/values/test_field_types.py::test_a_country_is_known_in_every_language", MEANT + "only_whoever_is_meant_is_asked_about_and_paid_for"),
    _case("W5", "what stands around an address or a web site", TEXTS + "an_address_is_read_out_of_whatever_stands_around_it", TEXTS + "a_guest_of_a_tenant_is_neither_a_mailbox_nor_a_company", TEXTS + "a_web_site_is_read_out_of_whatever_stands_around_it", TEXTS + "every_spelling_of_a_mailbox_has_one_key_or_is_not_read_at_all", "unit/identity/test_wrappings_in_the_wild.py::test_nearly_every_wrapped_address_in_the_wild_is_read_right", MEANT + "only_whoever_is_meant_is_asked_about_and_paid_for", "unit/identity/test_ordinary_inputs.py::test_a_comma_typed_for_a_full_stop_makes_nobody_else_of_a_mailbox"),
    _case("W6", "a collation that takes texts for equal that are not", COLLATION + "a_status_that_is_only_like_ours_is_none_of_ours", COLLATION + "an_input_that_was_corrected_in_case_or_accent_alone_is_another", COLLATION + "a_lead_whose_status_changed_in_case_alone_is_not_settled", COLLATION + "claims_use_the_indexes", "acceptance/test_collations.py::test_a_status_that_the_collation_takes_for_pending_is_left_alone"),
    _case("W7", "a status that was taken away by hand", WATCHER + "who_stood_there_in_work_is_history_to_a_version_that_takes_up_strays", LYING + "a_status_that_is_taken_away_by_hand_has_one_meaning", "integration/intake/test_history.py::test_a_status_that_was_taken_away_by_hand_is_left_alone_until_it_is_pending", "integration/intake/test_history.py::test_a_lead_that_never_was_ours_is_new"),
    _case("W8", "leads that nothing moves, and refusals of the database", UNMOVED + "a_status_that_is_none_of_ours_is_counted", UNMOVED + "a_status_that_is_no_text_is_counted", UNMOVED + "an_id_that_is_not_utf8_is_told_once_and_counted", UNMOVED + "a_count_reads_no_other_lead_and_no_more_than_it_shows", "acceptance/test_cli.py::test_leads_that_nothing_moves_are_told_by_check_and_status", "integration/queue/test_reasons.py::test_an_index_that_refuses_is_named", "integration/queue/test_reasons.py::test_a_rule_that_refuses_names_its_properties", "unit/values/test_merge.py::test_no_profiles_are_an_empty_object_also_where_null_is_stored"),
    _case("V1", "an act that cannot be undone, on the word of somebody in between", WORD + "a_451_of_somebody_elses_erases_nothing_and_suppresses_nobody", BRAKES + "of_many_objections_at_once_five_are_heeded_and_the_provider_stops", BRAKES + "two_daemons_count_objections_together", BRAKES + "a_few_objections_are_heeded", BRAKES + "a_small_share_of_objections_is_heeded_whatever_their_number"),
    _case("V2", "a person in any spelling", FORGETTING + "whoever_was_asked_about_is_forgotten_in_every_spelling", FORGETTING + "whatever_became_of_the_leads_they_are_erased"),
    _case("V3", "a person whose address was changed or taken away since", FORGETTING + "whose_address_was_changed_or_taken_away_since_is_forgotten", FORGETTING + "what_an_older_version_found_is_erased_also_after_the_address_changed"),
    _case("V4", "a person in several collections of leads", FORGETTING + "a_person_is_erased_from_every_collection_that_daemons_work_on", "acceptance/test_tls.py::test_a_forgotten_person_is_erased_where_the_role_allows_it_and_the_rest_is_told"),
    _case("V5", "the secret behind the hashes is lost, or is another one", HASH_KEY + "nothing_starts_after_the_secret_is_dropped", HASH_KEY + "nothing_starts_with_another_secret", HASH_KEY + "a_key_given_later_keeps_what_was_stored_before", HASH_KEY + "a_fresh_database_holds_no_key_when_one_is_given", "integration/mongo/test_secret.py::test_starts_at_the_same_moment_with_and_without_keys_agree_or_are_refused", "integration/mongo/test_secret.py::test_entries_that_are_gone_are_told_and_not_begun_anew", "integration/mongo/test_secret.py::test_entries_of_a_wrapped_or_derived_secret_are_missed_as_well"),
    _case("V6", "ids that are names, numbers or addresses", IDS + "an_id_that_may_be_a_persons_is_told_nowhere", IDS + "the_address_of_who_is_forgotten_stands_in_no_side_collection", IDS + "an_operator_may_name_a_lead_by_any_id", "unit/telemetry/test_labels.py::test_an_id_that_may_be_a_persons_is_a_keyed_hash", "unit/telemetry/test_labels.py::test_an_id_is_shown_as_people_search_for_it"),
    _case("V7", "a core of a process that holds keys", CORES + "no_core_is_left_where_cores_are_allowed", CORES + "nobody_but_root_may_look_into_the_daemon", CORES + "what_the_daemon_starts_leaves_no_core_either", "packages/test_unit.py::test_it_leaves_no_core"),
    _case("V8", "many objections over many leads", FORGETTING + "objections_hold_up_nobody_and_reach_what_was_found_before", "integration/queue/test_erasure.py::test_data_about_a_person_and_leads_in_work_are_found_by_an_index"),
    _case("M1", "an answer that is charged and cannot be read", "integration/calls/test_useless.py::test_whoever_asks_again_after_a_death_buys_it_once_more_and_no_more", BRAKES + "an_answer_that_cannot_be_read_is_bought_once_more_and_no_more", HTTP + "what_can_be_read_is_read_whatever_its_header_says"),
    _case("M2", "a plan's quota, and a lead that names one person after another", "acceptance/test_permission.py::test_a_lead_that_is_rewritten_again_and_again_counts_for_everybody_it_names", "integration/calls/test_quotas.py::test_what_an_older_version_counted_keeps_its_place_and_no_more"),
    _case("M3", "forged book-keeping", FORGED + "a_forged_wish_for_newer_answers_costs_nothing", FORGED + "the_wish_of_a_command_is_heeded_once_and_only_for_its_lead", FORGED + "whatever_is_forged_nobody_is_asked_twice_and_nobody_else_waits", FORGED + "who_makes_a_lead_suspect_holds_up_no_other_retry", LANES + "a_wish_for_newer_answers_is_heeded_if_it_is_ours_and_lasts_until_the_run_ends"),
    _case("M4", "a match without what is missing", REQUIRED + "a_match_without_what_is_missing_is_not_paid_for", REQUIRED + "what_the_operator_wants_is_what_is_required"),
    _case("M5", "a firewall's refusal", WORD + "a_firewalls_refusal_holds_nobody_and_ends_with_the_firewall"),
    _case("M6", "several times to wait", BRAKES + "of_several_times_to_wait_the_longest_counts"),
    _case("M7", "a time to wait of years", BRAKES + "a_hint_of_years_is_capped_told_and_ended_by_a_start", BRAKES + "a_start_ends_a_long_pause_for_all_daemons"),
    _case("M8", "a number beyond all priorities", "acceptance/test_urgency.py::test_a_hot_lead_overtakes_a_backlog_that_only_waits_for_a_limit", "integration/queue/test_leads.py::test_numbers_keep_their_order_below_the_most_urgent_word"),
    _case("M9", "a lead that is thin or unknown", LANES + "a_refresh_begins_a_run_of_its_own_behind_everything_fresh", gap="it is asked about again when its refresh is due, 90 days later; not sooner"),
    _case("M10", "a 202 that several daemons, or several attempts, poll for", "acceptance/test_paid_once.py::test_two_daemons_that_poll_one_202_count_one_charge", PAID + "two_daemons_that_poll_one_202_count_one_charge", PAID + "a_202_is_paid_for_in_the_next_attempt_too_and_needs_no_budget_then", PAID + "what_comes_between_a_202_and_its_answer"),
    _case("M11", "a backfill under a budget, or with a refused key", PAUSES + "it_pauses_while_a_budget_is_used_up_and_a_later_one_goes_on", PAUSES + "it_pauses_while_a_key_is_refused_and_goes_on_by_itself", PAUSES + "a_hold_from_before_is_met_before_any_lead_is_asked_for", PAUSES + "a_provider_that_is_stopped_alone_is_met_before_any_lead_is_asked_for", PAUSES + "it_does_not_wait_for_a_provider_that_it_does_not_need", PAUSES + "done_means_ended", PAUSES + "a_lead_that_only_says_that_it_is_retried_holds_up_nobody"),
    _case("M12", "a vendor whose every answer is charged and useless", BRAKES + "a_vendor_whose_every_answer_changed_is_stopped_after_ten_charges", "integration/calls/test_useless.py::test_an_answer_that_tells_nothing_does_not_let_everybody_in"),
    _case("D0", "a lost answer to any command that answers with a document, and documents that others have written into", "integration/queue/test_at_once.py::test_a_claim_that_the_driver_sent_twice_is_read_as_it_stands", REPLIES + "a_lone_lead_is_ours_with_all_that_a_lease_says", REPLIES + "the_secret_that_was_made_is_the_one_that_is_kept", REPLIES + "slots_are_given_out_once", REPLIES + "a_hold_stands", REPLIES + "a_call_is_reserved_once", REPLIES + "a_daemon_is_enrolled", REPLIES + "a_first_start_is_a_first_start", REPLIES + "a_backfill_goes_on_with_the_run_that_it_began", REPLIES + "a_person_is_erased", REPLIES + "a_ledger_that_cannot_be_read_is_trouble_of_the_database", REPLIES + "a_checkpoint_that_cannot_be_read_is_none", REPLIES + "a_claim_that_somebody_wrote_into_is_left_to_its_lease"),
    _case("D1", "a document that holds one of our fields twice, which ends MongoDB 6.0 at an update by a pipeline", "acceptance/test_doubled.py::test_a_field_that_stands_there_twice_fails_the_lead_and_not_the_server", "acceptance/test_doubled.py::test_commands_do_not_end_the_server_either", "chaos/test_documents.py::test_documents_with_a_field_twice_end_none_of_three_servers", "acceptance/test_doubled.py::test_a_lead_that_becomes_such_a_document_while_it_is_in_work", "acceptance/test_fatal.py::test_a_lead_whose_every_write_ends_the_server_is_written_no_more", "integration/queue/test_fatal.py::test_a_lead_that_ends_the_server_is_written_no_more_and_the_others_are", "integration/queue/test_fatal.py::test_one_that_is_tried_beside_the_batches_ends_no_more_servers_either", "integration/queue/test_fatal.py::test_the_blame_outlives_processes_until_somebody_takes_it_back", "integration/queue/test_fatal.py::test_a_server_that_somebody_kills_under_ordinary_leads_blames_nobody", "integration/queue/test_fatal.py::test_a_step_down_under_ordinary_leads_blames_nobody", "integration/queue/test_fatal.py::test_a_server_that_takes_its_time_to_die_is_told_from_a_slow_one", "acceptance/test_forgetting.py::test_a_lead_that_is_written_no_more_is_named_and_the_others_are_erased"),
    _case("D2", "a collection that another takes the place of", WATCHER + "leads_that_take_the_place_of_the_collection_are_found", WATCHER + "a_start_searches_unless_a_search_ended_within_the_hour"),
    _case("D3", "ids of megabytes", "acceptance/test_memory.py::test_ids_of_megabytes_stay_in_the_database", "integration/queue/test_claims.py::test_leads_whose_ids_are_megabytes_are_failed_and_the_others_claimed", "integration/intake/test_changes.py::test_an_event_whose_id_is_too_long_never_leaves_the_database"),
    _case("D4", "file descriptors that run out: half-sent requests, slow vendors", "acceptance/test_descriptors.py::test_the_soft_limit_is_raised_to_the_hard_one", "acceptance/test_descriptors.py::test_a_thousand_half_sent_requests_are_in_nobodys_way", "acceptance/test_descriptors.py::test_too_few_descriptors_cost_time_and_nothing_else", "unit/test_http_guard.py::test_half_sent_requests_make_room_for_a_probe", "unit/test_http_guard.py::test_clients_that_never_read_do_not_keep_others_out"),
    _case("D5", "many large answers of vendors at once", "acceptance/test_memory.py::test_large_answers_wait_for_room", "unit/providers/test_room.py::test_large_bodies_are_read_to_their_end_and_leave_no_room_taken", "unit/providers/test_room.py::test_a_large_answer_waits_for_room_and_its_time_stands_still", "unit/providers/test_room.py::test_a_small_answer_never_waits", "unit/providers/test_room.py::test_the_room_is_kept_until_the_answer_is_stored"),
    _case("D6", "answers that never end: interim ones, headers, extensions of chunks, trailers", "unit/providers/test_provider_floods.py::test_an_answer_without_an_end_is_given_up_soon", "unit/providers/test_provider_floods.py::test_an_answer_that_drips_ends_with_the_time", "unit/providers/test_provider_floods.py::test_endless_hints_are_called_by_their_name", "acceptance/test_floods.py::test_the_daemon_neither_stalls_nor_grows"),
    _case("D7", "leads inserted while a first start prepares a large collection", WATCHER + "what_was_inserted_since_the_process_began_is_never_history", WATCHER + "what_a_first_process_did_not_live_to_admit_is_not_history", WATCHER + "a_lead_that_is_replaced_before_the_history_is_known_waits_for_it", WATCHER + "it_stops_while_the_history_is_written_down", "integration/intake/test_building.py::test_new_leads_are_worked_on_while_the_indexes_are_built", "integration/intake/test_building.py::test_two_daemons_share_the_new_leads_while_one_build_is_for_both", "integration/intake/test_building.py::test_nothing_is_missed_by_one_who_is_killed_during_the_build", "integration/intake/test_building.py::test_a_record_of_history_goes_on_after_a_kill_and_nothing_is_missed", "integration/test_start.py::test_what_was_inserted_while_a_first_process_began_is_new_and_what_stood_there_is_not"),
    _case("D8", "a start with many leads that wait for a hold that is over", "unit/calls/test_releases.py::test_a_restart_calls_back_those_whose_hold_it_ended_once_the_work_runs", "integration/queue/test_holds.py::test_more_than_one_batch_comes_back_although_the_database_refuses_some"),
    _case("D9", "the search of a large collection", WATCHER + "new_leads_go_on_while_the_collection_is_searched", WATCHER + "a_stream_that_begins_anew_keeps_no_lead_waiting_for_the_search"),
    _case("D10", "leads that are deleted while they are in work", SETTLE + "leads_that_are_gone_are_told_in_one_round_trip"),
    _case("D11", "options in the address of MongoDB that suit other programs; UUIDs as ids and accounts", "integration/mongo/test_server.py::test_every_option_of_the_driver_is_either_ours_or_the_operators", "integration/mongo/test_server.py::test_what_we_rely_on_is_the_same_whatever_the_address_says", "integration/mongo/test_server.py::test_what_is_about_the_way_to_the_server_is_honoured", "integration/mongo/test_server.py::test_a_value_that_the_driver_would_ignore_is_refused_in_one_line", "acceptance/test_uri.py::test_ids_and_accounts_may_be_uuids_in_any_representation", "acceptance/test_uri.py::test_options_that_would_break_the_work_have_no_effect", "acceptance/test_uri.py::test_a_value_that_could_only_be_ignored_ends_a_command_with_2"),
    _case("D12", "a backlog of millions, which takes too long to count", "integration/queue/test_backlog.py::test_nothing_is_counted_beyond_a_limit_and_that_is_told", "integration/queue/test_backlog.py::test_where_counting_takes_too_long_less_is_counted", "integration/queue/test_backlog.py::test_a_backlog_that_takes_too_long_to_count_is_unknown_to_who_looks", "integration/queue/test_backlog.py::test_a_backlog_that_takes_too_long_to_count_is_no_number_for_prometheus", "unit/status/test_census.py::test_what_takes_too_long_to_count_is_not_a_number_and_neither_0_nor_old", "unit/status/test_census.py::test_what_was_never_counted_is_not_a_number_whatever_the_reason", "unit/status/test_status_view.py::test_more_than_is_counted_is_told_as_such", "unit/status/test_status_view.py::test_a_backlog_that_could_not_be_counted_is_unknown_and_never_idle", "acceptance/test_status_page.py::test_a_backlog_of_millions_is_over_a_figure_or_unknown_and_never_0"),
    _case("D13", "our own CPU, time and memory that run out", "unit/enrichment/test_waterfall.py::test_what_our_own_loop_takes_long_for_costs_no_extra_write", "unit/enrichment/test_waterfall.py::test_a_vendor_that_is_late_is_seen_in_a_busy_loop_too", "acceptance/test_stalls.py::test_a_process_that_was_stopped_for_a_while_takes_the_answers_that_came_meanwhile", "acceptance/test_stalls.py::test_a_vendor_that_is_silent_after_a_stall_has_failed_all_the_same", "acceptance/test_stalls.py::test_a_provider_that_burns_the_cpu_costs_no_other_an_attempt", "acceptance/test_stalls.py::test_memory_that_runs_out_is_no_vendors_failure"),
    _case("D14", "a web page that reads the HTTP port under a name of its own", "unit/test_http_guard.py::test_a_name_that_a_stranger_may_have_is_refused", "unit/test_http_guard.py::test_addresses_names_of_ones_own_network_and_listed_ones_are_answered", "acceptance/test_descriptors.py::test_a_name_that_a_page_made_up_reads_nothing"),
    _case("D15", "a key that would travel the internet in clear", "unit/settings/test_setting_secrets.py::test_a_key_does_not_travel_the_internet_in_clear", "unit/settings/test_setting_secrets.py::test_within_ones_own_network_it_may", "unit/settings/test_hosts.py::test_a_public_address_is_not_whatever_its_spelling", "acceptance/test_setting_files.py::test_a_key_in_the_wrong_line_is_not_shown"),
    _case("D16", "a key in the wrong line of the settings", "unit/settings/test_setting_secrets.py::test_no_complaint_quotes_what_may_be_a_key", "unit/settings/test_setting_secrets.py::test_nor_a_part_of_a_value", "unit/settings/test_setting_secrets.py::test_nor_does_an_address_of_mongodb_that_cannot_be_read", "acceptance/test_setting_files.py::test_a_key_in_the_wrong_line_is_not_shown", "acceptance/test_setting_files.py::test_a_host_that_is_none_ends_run_without_being_shown"),
    _case("D17", "files of settings that everybody can read, or that are no files", "unit/settings/test_setting_secrets.py::test_what_is_no_file_is_one_clear_line_and_nobody_waits", "unit/settings/test_setting_secrets.py::test_a_file_with_keys_that_everybody_can_read_is_known_as_such", "acceptance/test_setting_files.py::test_a_fifo_for_an_env_file_holds_up_nobody", "acceptance/test_setting_files.py::test_a_fifo_among_the_credentials_holds_up_nobody", "acceptance/test_setting_files.py::test_keys_that_everybody_can_read_are_one_warning", "acceptance/test_setting_files.py::test_an_env_file_that_nobody_lets_us_look_for_is_one_line"),
    _case("D18", "control characters, overrides of direction and invisible letters in vendors' texts", "unit/values/test_texts.py::test_a_name_is_one_line_of_what_can_be_read", "unit/values/test_texts.py::test_a_description_keeps_its_lines", "unit/values/test_texts.py::test_so_is_what_we_have_no_type_for_at_any_depth", "unit/values/test_texts.py::test_nothing_that_is_obeyed_is_left_and_cleaning_twice_changes_nothing", "acceptance/test_texts.py::test_what_a_terminal_would_obey_is_neither_stored_nor_printed", "acceptance/test_texts.py::test_what_was_stored_before_is_not_obeyed_either", "unit/status/test_status_view.py::test_nothing_in_a_status_is_obeyed_by_the_terminal"),
    _case("D19", "dates of the queue that are invented", "integration/queue/test_backlog.py::test_no_lead_has_waited_since_a_date_that_is_invented", "integration/queue/test_claims.py::test_a_lease_knows_how_long_the_lead_had_been_work", "integration/intake/test_sweep.py::test_who_is_in_work_and_never_due_is_work_again"),
    _case("D20", "what is no HTTP at the HTTP port", "unit/test_http_guard.py::test_what_is_no_http_is_refused_and_is_no_line_of_the_log", "unit/test_http_guard.py::test_what_is_no_http_is_counted", "acceptance/test_descriptors.py::test_a_malformed_request_is_no_line_of_the_log"),
    _case("D21", "leads that a writer's open transaction holds: in work, due, new, many, aborted, deleted, at a stop", *(HELD + name for name in ("leads_that_are_held_in_work_delay_no_settle_of_others", "a_lead_that_is_held_while_it_falls_due_delays_no_claim_of_others", "leads_that_are_held_while_new_delay_no_admission_of_others", "what_is_held_while_new_is_seen_by_the_next_start", "a_lead_that_is_held_costs_no_other_its_lease", "one_transaction_over_all_slots_leaves_room_for_others", "a_held_lead_that_is_deleted_is_not_brought_back", "a_daemon_that_is_told_to_stop_ends_although_a_lead_is_held", "two_daemons_go_on_beside_leads_that_are_held", "a_lead_that_is_refused_and_one_that_is_held_share_a_batch_with_others", "a_backfill_goes_on_beside_a_lead_that_is_held")), *(APART + name for name in ("a_server_that_takes_its_time_blocks_nobody", "a_slow_server_is_an_outage_once_and_has_more_time_from_then_on", "of_many_that_are_held_only_a_few_are_tried_again_each_time"))),
    _case("D22", "questions that a vendor can never answer, in a quiet hour", BREAKER + "a_quiet_hour_with_questions_that_nobody_can_answer_holds_up_no_other", BREAKER + "a_question_that_fails_although_others_were_answered_spends_its_attempts", BREAKER + "questions_that_only_ever_failed_beside_others_open_it_for_nobody", BREAKER + "beside_such_questions_a_vendor_that_goes_away_is_noticed_by_the_others"),
    _case("D23", "SIGTERM where SIGINT is ignored, while something starts, twice, with a stuck loop", "integration/test_start.py::test_a_start_that_is_cancelled_ends_at_whatever_it_is", *(SIGNALS + name for name in ("run_ends_while_the_embedded_server_starts", "run_drains_and_ends", "a_second_sigterm_does_not_wait_for_a_vendor", "two_at_once_end_it", "status_watch_ends", "nohup_is_heeded", "the_simulator_ends", "the_demo_ends_while_it_starts_and_while_it_shows", "a_backfill_ends_and_says_how_to_go_on", "before_anything_is_started_it_ends_by_that_signal", "the_second_signal_ends_a_command_whose_loop_is_stuck"))),
    _case("D24", "documents of accounts with a quota, which nobody needs after their month", "integration/calls/test_quotas.py::test_an_accounts_document_goes_a_month_after_its_own", "integration/calls/test_quotas.py::test_documents_of_an_older_version_get_an_end_and_what_is_counted_stays"),
    _case("D26", "a server's clock that is set back an hour", "integration/calls/test_flights.py::test_a_beat_that_lies_ahead_is_judged_by_the_watch_alone", "integration/calls/test_flights.py::test_a_dead_holder_is_replaced_also_when_the_servers_clock_goes_back_an_hour", "integration/calls/test_flights.py::test_a_living_holder_is_not_when_the_servers_clock_goes_back", "integration/intake/test_sweep.py::test_a_lease_that_ends_late_and_is_not_renewed_is_over", "integration/intake/test_sweep.py::test_a_lease_that_is_renewed_is_not_over_however_late_it_ends"),
    _case("D25", "leads that have megabytes of data already", "acceptance/test_memory.py::test_leads_with_much_data_are_taken_a_few_at_a_time"),
)  # fmt: skip


@lru_cache(1)
def _table_ids() -> dict[str, list[str]]:
    """Case -> ids of the lines of the tables, as pytest itself names them."""
    found: dict[str, list[str]] = {}
    for module in TABLES:
        for id_ in ids_in(module):
            found.setdefault(id_.partition("-")[0], []).append(id_)
    return found


def ids_in(module: ModuleType) -> Iterator[str]:
    for name, test in vars(module).items():
        if name.startswith("test_"):
            for mark in getattr(test, "pytestmark", []):
                yield from (str(each.id) for each in mark.args[1])


@lru_cache(64)
def functions_in(file: str) -> frozenset[str]:
    """Names of the tests in a file below `tests`; none when there is no such file."""
    path = TESTS / file
    tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, nodes))


def shown(case: Case) -> list[str]:
    """Everything that shows a case: lines of the tables, tests named after it, and the others."""
    lines = [f"`{id_}`" for id_ in _table_ids().get(case.id, [])]
    prefix = f"test_{case.id.lower()}_"
    named = sorted(name for name in functions_in(SPELLINGS) if name.startswith(prefix))
    return [
        *lines,
        *(f"`{SPELLINGS}::{name}`" for name in named),
        *(f"`{it}`" for it in case.shown_by),
    ]


def listing() -> str:
    """The text of `EDGE_CASES.md`."""
    lines = [
        "# Edge cases, and the tests that show them",
        "",
        "Made by `python -m tests.edge_cases`, and checked by `test_edge_cases.py`. A name without a file is",
        "the id of a line in `unit/identity/test_edge_cases_identity.py` (E) or `unit/providers/test_edge_cases_answers.py` (P):",
        "`pytest -k E12` runs the lines of one case.",
    ]
    for letter, title in (
        ("E", "What a writer puts into a lead"),
        ("P", "What a vendor answers"),
        ("L", "What happens to a lead meanwhile"),
        ("G", "What is personal"),
        ("W", "Wrong data on a lead"),
        ("V", "Privacy, and acts that cannot be undone"),
        ("M", "Money"),
        ("D", "What takes the daemon down, or is missed"),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| case | what | shown by | left out |",
            "|---|---|---|---|",
        ]
        ours = [case for case in CASES if case.id.startswith(letter)]
        lines += [_row(case) for case in sorted(ours, key=lambda case: int(case.id[1:]))]
    return "\n".join(lines) + "\n"


def _row(case: Case) -> str:
    tests = "<br>".join(re.sub(r"\|", r"\\|", each) for each in shown(case))
    return f"| {case.id} | {case.text} | {tests} | {case.gap} |"


if __name__ == "__main__":
    LISTING.write_text(listing(), "utf-8")
