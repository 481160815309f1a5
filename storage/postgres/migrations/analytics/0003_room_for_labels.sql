-- A product's label is written again with each of its sales, for the number of
-- the latest: with room in the page that touches no index.
ALTER TABLE product_labels SET (fillfactor = 50);
