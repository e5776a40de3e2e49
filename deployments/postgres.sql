-- Run once, when the database's volume is new; POSTGRES_DB makes Prefect's.
CREATE DATABASE mlflow;
