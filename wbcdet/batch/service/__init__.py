"""The analysis as a service of the laboratory's network: pictures in, results documents out."""
