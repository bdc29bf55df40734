"""End-to-end tests: a package, so that their Airflow ends with the last of them (package-scoped fixtures)."""
