// Package places reads places from files and writes them to files: GeoJSON
// FeatureCollections (RFC 7946) and tables (CSV), as they come out of a retailer's
// systems, a map editor, or this package's Writer.
//
// # Reading
//
// A Reader takes a file of any size and keeps one row of it in memory, besides the
// ids of the places that it has seen. What is wrong with a row refuses that row, with
// its number, the column and the reason; the others are read. Only what leaves the
// rest without meaning ends the file: no header, a column that the mapping names and
// that is not there, JSON whose brackets do not match.
//
// A row of a table is a circle around lat and lng, or has the text of a GeoJSON
// geometry; a feature has its own. Rows with the same place that follow one another
// are its geofences. A place that comes again later is put over the earlier one, as by
// a second file (see below), and a geofence of the same id takes the earlier one's
// stead: the last counts, with a warning that has the number of the earlier row.
//
//	id          what the retailer calls the place; an import finds it again by that.
//	            GeoJSON: the property "place", else the feature's id. Other characters
//	            than a-z, A-Z, 0-9, '.', '_', '-' become '-', with a warning.
//	name        empty: as it was; of a new place the id
//	lat lng     degrees; a comma may stand for the point
//	radius      metres. Empty: Options.RadiusM for a point, none for an outline, where
//	            a radius means all within so many metres of it
//	hours       opening hours as OpenStreetMap writes them (package hours)
//	time_zone   an IANA name, alone or among other words ("GMT+1:00 Europe/Berlin").
//	            Empty, cut or no such name: found from the position
//	tags        separated by ; , or |, or a JSON list
//	holidays    dates, separated likewise
//	fence       id of the geofence. Empty: GeoJSON the feature's id, else <place>-<ring>
//	ring        inside (also when empty) or near
//	dwell_s     whole seconds
//	geometry    in tables: the text of a GeoJSON geometry
//	rule        of the geofence, place_rule of the place, location, exceptions, beacons:
//	            JSON as in the API
//
// A Mapping says which column or property holds a field; where it says nothing, the
// column of that name does, in any case, or of a name that is usual (latitude, lon,
// long, longitude, timezone, opening_hours). A table in which two columns could hold a
// field, or have the name that is mapped, is refused as a whole. Tables begin with a header; a byte-order
// mark is skipped; the separator is the comma, semicolon or tab that the header has
// most of; quoted cells may hold line ends.
//
// # Over what is there
//
// Item.Complete puts a place from a file over the one that has its id: its geofences
// are replaced by those of the file; of the rest, a field that the file does not have
// stays as it is, and one that is empty there (a cell, or null) is emptied, but for the
// name, without which no place is. A geofence keeps its dwell and rule likewise.
//
// # Time zones
//
// ZoneAt finds the zone of a position offline. It uses github.com/ringsaturn/tzf (MIT;
// its readme also has a licence against one named company) and the borders of
// timezone-boundary-builder (ODbL, from OpenStreetMap's data), which are part of the
// program: 6.7 MB of it, nothing is asked of anybody. Of the libraries that could be
// had and verified it is the one that is kept up; it was measured on the 25,597 stores
// of ../shared/data/stores. What it needs is loaded when it is first asked: the tiles
// that lie within one zone (9 MB of heap, 65 ms; they answer 92 % of the stores), and
// the borders for what lies beside one (22 MB more, 0.9 s, 130 MB while they are
// unpacked). The borders are simplified: within a few hundred metres of one the answer
// can be the neighbour's, as it can anyway where two zones are claimed. Who knows better
// gives time_zone.
package places
