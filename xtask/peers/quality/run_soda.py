"""Checks rules on a table with Soda Core, as its defaults are."""

import json
import logging
from pathlib import Path

from soda.common.config_helper import ConfigHelper

# Before anything else of Soda is loaded, which reads it then.
ConfigHelper.get_instance(str(Path(__file__).with_name("soda_config.yml")))

from soda.scan import Scan

from rules import given, tell


def check(rule):
    args = rule.get("args", {})
    named = {"name": rule["name"]}
    if rule["rule"] == "expression":
        # It knows no share of the rows that may fail.
        return {"failed rows": {**named, "fail condition": f"NOT ({args['expression']})"}}
    metric, own = {
        "not_null": ("missing", {}),
        "not_blank": ("missing", {"missing regex": r"^\s*$"}),
        "unique": ("duplicate", {}),
        "range": ("invalid", {f"valid {end}": bound for end, bound in args.items()}),
        "length": ("invalid", {f"valid {end} length": bound for end, bound in args.items()}),
        "regex": ("invalid", {"valid regex": args.get("pattern")}),
        "accepted_values": ("invalid", {"valid values": args.get("values")}),
    }[rule["rule"]]
    (column,) = rule["columns"]
    return {f"{metric}_percent({column}) <= {100 * (1 - rule['threshold']):g}": {**named, **own}}


def finding(check, metrics, rows):
    (metric,) = check["metrics"]
    # Whatever is counted, the percentage is one of all rows.
    evaluated = rows if "_percent" in metric else None
    failed = metrics[metric.replace("_percent", "_count")]
    return {"evaluated": evaluated, "failed": failed, "passed": check["outcome"] == "pass"}


def main():
    logging.disable(logging.INFO)
    url, table, rules = given()
    connection = {"type": "postgres", "host": url.hostname, "port": url.port, "username": url.username}
    connection |= {"database": url.path[1:], "schema": "public"}
    scan = Scan()
    scan.set_data_source_name("source")
    scan.add_configuration_yaml_str(json.dumps({"data_source source": connection}))
    scan.add_sodacl_yaml_str(json.dumps({f"checks for {table}": [check(rule) for rule in rules]}))
    scan.execute()
    scan.assert_no_error_logs()
    results = scan.get_scan_results()
    metrics = {metric["identity"]: metric["value"] for metric in results["metrics"]}
    rows = metrics[f"metric-source-{table}-row_count"]
    tell({found["name"]: finding(found, metrics, rows) for found in results["checks"]})


main()
