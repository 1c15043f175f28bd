"""What the scripts beside this file share: what they are given, and what they print."""

import json
import sys
from urllib.parse import urlsplit


def given():
    """The database as a URL (its password is in PGPASSWORD), the name of the table in it, and the rules."""
    url, table, path = sys.argv[1:]
    with open(path) as file:
        return urlsplit(url), table, json.load(file)


def tell(findings):
    """Prints for each rule, by its name: evaluated and failed (values, or null if the tool does not say), passed."""
    print(json.dumps(findings))
