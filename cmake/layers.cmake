# A layer is a folder of C files. What it may include is what it links: nothing else is on its path, but for
# headers, which tests/lint/layers.py checks by their include lines.
function(tidegate_layer name folder)
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
	add_library(${name} STATIC ${sources})
	target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()
