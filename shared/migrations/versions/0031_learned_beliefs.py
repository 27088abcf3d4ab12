"""What was learned of each merchant's customers, and of all together; who left the pool; a card's funding."""

from shared.migrations.sql_files import from_sql

revision = "0031"
down_revision = "0030"
upgrade, downgrade = from_sql(__file__)
