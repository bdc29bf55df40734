"""The domain: dumps, chains, repositories, restores. Knows no Airflow, so that it works when Airflow is lost."""
