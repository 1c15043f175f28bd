"""Checks rules on a table with Great Expectations, as its defaults are."""

import os

os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import great_expectations.expectations as gxe

from rules import given, tell


def expectation(rule):
    args = rule.get("args", {})
    if rule["rule"] == "expression":
        # It knows no share of the rows that may fail.
        return gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=f"SELECT * FROM {{batch}} WHERE NOT ({args['expression']})"
        )
    (column,) = rule["columns"]
    bounds = {"min_value": args.get("min"), "max_value": args.get("max")}
    kind, own = {
        "not_null": (gxe.ExpectColumnValuesToNotBeNull, {}),
        "not_blank": (gxe.ExpectColumnValuesToMatchRegex, {"regex": r"\S"}),
        "unique": (gxe.ExpectColumnValuesToBeUnique, {}),
        "range": (gxe.ExpectColumnValuesToBeBetween, bounds),
        "length": (gxe.ExpectColumnValueLengthsToBeBetween, bounds),
        "regex": (gxe.ExpectColumnValuesToMatchRegex, {"regex": args.get("pattern", "")}),
        "accepted_values": (gxe.ExpectColumnValuesToBeInSet, {"value_set": args.get("values")}),
    }[rule["rule"]]
    return kind(column=column, mostly=rule["threshold"], **own)


def finding(result):
    values = result.result
    if "element_count" not in values:
        return {"evaluated": None, "failed": values["observed_value"], "passed": result.success}
    evaluated = values["element_count"] - values.get("missing_count", 0)
    # The sum over no rows is None.
    failed = values["unexpected_count"] or 0
    return {"evaluated": evaluated, "failed": failed, "passed": result.success}


def main():
    url, table, rules = given()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_postgres("source", connection_string=url.geturl())
    batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("rows").get_batch()
    suite = gx.ExpectationSuite(name="rules")
    for rule in rules:
        suite.add_expectation(expectation(rule)).meta = {"rule": rule["name"]}
    results = batch.validate(suite).results
    tell({result.expectation_config.meta["rule"]: finding(result) for result in results})


main()
