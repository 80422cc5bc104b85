-- Beside the database dagster, which the image makes.
create database mlflow;
