"""What only this project's own research needs: factories, rivals, studies, benchmarks, release."""
