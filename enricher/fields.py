"""PURE The names of the fields in `enriched_data`, by kind: the contract that readers know.

Where an operator or a provider names a field, the name is checked against these: a mistyped one
would be missing for ever, and every vendor would be asked, and paid, for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from enricher.answer import Kind

FIELDS: Mapping[Kind, frozenset[str]] = {
    Kind.COMPANY: frozenset(
        """
        name domain logo_url description founded_year location timezone employee_count
        employee_range annual_revenue estimated_annual_revenue raised alexa_rank sector
        industry_group industry sub_industry tags tech_stack linkedin_handle twitter_handle
        twitter_followers facebook_handle crunchbase_handle phone company_type ticker city state
        country country_code clearbit_id
        """.split()
    ),
    Kind.PERSON: frozenset(
        """
        full_name first_name last_name job_title role seniority location timezone bio avatar_url
        linkedin_handle twitter_handle github_handle
        """.split()
    ),
    Kind.EMAIL: frozenset(
        """
        status result score is_disposable is_webmail is_gibberish mx_records smtp_check accept_all
        """.split()
    ),
}
