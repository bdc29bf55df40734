"""The operators: thin Airflow faces of `core`, one per stage."""
