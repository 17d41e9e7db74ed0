"""Statistics of results: of one method, of pairs, and weights of cases from them."""
