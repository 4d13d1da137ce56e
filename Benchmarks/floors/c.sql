-- Floor (c): a round trip.
SELECT 1;
