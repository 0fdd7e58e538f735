"""What people see of a run: boards and figures, tables, and what MLflow is told. Imported page by page."""
