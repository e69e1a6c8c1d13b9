"""How far to trust a map: what it is tried on, the tables that come of it, what they add up to."""

from research.trust.summary import coverage_table as coverage_table
from research.trust.tables import calibrated_maps as calibrated_maps
from research.trust.tables import trust_tables as trust_tables
