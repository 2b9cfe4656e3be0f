// Unit square with a disc of another material at its centre.
// gmsh -2 two_materials.geo -o two_materials.msh
size = 0.1;
Mesh.MshFileVersion = 4.1;

Point(1) = {0, 0, 0, size};
Point(2) = {1, 0, 0, size};
Point(3) = {1, 1, 0, size};
Point(4) = {0, 1, 0, size};
Point(5) = {0.5, 0.5, 0, size};
Point(6) = {0.75, 0.5, 0, size};
Point(7) = {0.5, 0.75, 0, size};
Point(8) = {0.25, 0.5, 0, size};
Point(9) = {0.5, 0.25, 0, size};

Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 1};
Circle(5) = {6, 5, 7};
Circle(6) = {7, 5, 8};
Circle(7) = {8, 5, 9};
Circle(8) = {9, 5, 6};

Curve Loop(1) = {1, 2, 3, 4};
Curve Loop(2) = {5, 6, 7, 8};
Plane Surface(1) = {1, 2};
Plane Surface(2) = {2};

Physical Surface("outside") = {1};
Physical Surface("inside") = {2};
Physical Curve("wall") = {2, 4};
Physical Curve("floor") = {1};
Physical Curve("lid") = {3};
Physical Curve("interface") = {5, 6, 7, 8};
