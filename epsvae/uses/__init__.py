"""What a map is used for, one file a use."""

from epsvae.uses.pareto import find_pareto_efficient as find_pareto_efficient
