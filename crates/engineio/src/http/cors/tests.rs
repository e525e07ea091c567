//! Each rule of the headers, and their order.

use super::*;

const PAGE: &str = "https://page.example";

fn from(origin: &str) -> HeaderMap {
    let mut request = HeaderMap::new();
    request.insert(header::ORIGIN, origin.parse().unwrap());
    request
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    headers.iter().map(line).collect()
}

fn actual(cors: &Cors, request: &HeaderMap) -> Vec<String> {
    let mut out = HeaderMap::new();
    cors.headers(request, &mut out);
    lines(&out)
}

fn preflight(cors: &Cors, request: &HeaderMap) -> Vec<String> {
    let response = cors.preflight(&Method::OPTIONS, request).unwrap();
    lines(response.headers())
}

fn values<const N: usize>(names: [&'static str; N]) -> [HeaderValue; N] {
    names.map(HeaderValue::from_static)
}

#[test]
fn any_origin_is_a_star_and_varies_with_nothing() {
    for cors in [Cors::default(), Cors::exact(HeaderValue::from_static("*"))] {
        let expected = ["access-control-allow-origin: *"];
        assert_eq!(actual(&cors, &from(PAGE)), expected);
        assert_eq!(actual(&cors, &HeaderMap::new()), expected);
    }
}

#[test]
fn credentials_never_go_with_a_star() {
    for cors in [Cors::any(), Cors::exact(HeaderValue::from_static("*"))] {
        let cors = cors.credentials(true);
        let expected = ["access-control-allow-origin: *"];
        assert_eq!(actual(&cors, &from(PAGE)), expected);
        let preflight = preflight(&cors, &from(PAGE));
        let credentials = |line: &String| line.contains("credentials");
        assert!(!preflight.iter().any(credentials), "{preflight:?}");
    }
}

#[test]
fn an_exact_origin_is_the_answer_to_everybody() {
    let cors = Cors::exact(HeaderValue::from_static("https://other.example"));
    let expected = [
        "access-control-allow-origin: https://other.example",
        "vary: Origin",
    ];
    assert_eq!(actual(&cors, &from(PAGE)), expected);
    assert_eq!(actual(&cors, &HeaderMap::new()), expected);
}

#[test]
fn what_allows_some_origins_names_the_one_that_asks() {
    let listed = Cors::one_of(values(["https://a.example", PAGE]));
    let matched = Cors::matching(|origin| origin.ends_with("page.example"));
    for cors in [listed, matched] {
        let allowed = [
            "access-control-allow-origin: https://page.example",
            "vary: Origin",
        ];
        assert_eq!(actual(&cors, &from(PAGE)), allowed);
        for origin in ["https://page.example.evil", "null", "https://PAGE.example"] {
            assert_eq!(actual(&cors, &from(origin)), ["vary: Origin"], "{origin}");
        }
        assert_eq!(actual(&cors, &HeaderMap::new()), ["vary: Origin"]);
    }
}

#[test]
fn an_origin_that_is_no_text_matches_nothing() {
    let cors = Cors::matching(|_| true);
    let mut request = HeaderMap::new();
    let origin = HeaderValue::from_bytes(b"https://\xe9").unwrap();
    request.insert(header::ORIGIN, origin);
    assert_eq!(actual(&cors, &request), ["vary: Origin"]);
}

#[test]
fn reflection_names_whoever_asks() {
    let cors = Cors::reflect().credentials(true);
    assert_eq!(
        actual(&cors, &from("null")),
        [
            "access-control-allow-origin: null",
            "vary: Origin",
            "access-control-allow-credentials: true"
        ]
    );
    assert_eq!(
        actual(&cors, &HeaderMap::new()),
        ["vary: Origin", "access-control-allow-credentials: true"]
    );
}

#[test]
fn a_preflight_with_everything() {
    let cors = Cors::one_of(values([PAGE]))
        .methods([Method::GET, Method::POST])
        .allowed_headers([header::CONTENT_TYPE, HeaderName::from_static("my-header")])
        .exposed_headers([header::ETAG, header::AGE])
        .credentials(true)
        .max_age(Duration::from_millis(123_900))
        .options_success_status(StatusCode::OK);
    assert_eq!(
        preflight(&cors, &from(PAGE)),
        [
            "access-control-allow-origin: https://page.example",
            "vary: Origin",
            "access-control-allow-credentials: true",
            "access-control-allow-methods: GET,POST",
            "access-control-allow-headers: content-type,my-header",
            "access-control-max-age: 123",
            "access-control-expose-headers: etag,age",
            "content-length: 0",
        ]
    );
    let response = cors.preflight(&Method::OPTIONS, &from(PAGE)).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().is_empty());
    assert_eq!(
        actual(&cors, &from(PAGE)),
        [
            "access-control-allow-origin: https://page.example",
            "vary: Origin",
            "access-control-allow-credentials: true",
            "access-control-expose-headers: etag,age",
        ]
    );
}

#[test]
fn a_preflight_by_default_allows_the_headers_it_asks_for() {
    let mut request = from(PAGE);
    let names = HeaderValue::from_static("x-a, x-b");
    request.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, names);
    assert_eq!(
        preflight(&Cors::reflect(), &request),
        [
            "access-control-allow-origin: https://page.example",
            "vary: Origin, Access-Control-Request-Headers",
            "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
            "access-control-allow-headers: x-a, x-b",
            "content-length: 0",
        ]
    );
    let response = Cors::any()
        .preflight(&Method::OPTIONS, &HeaderMap::new())
        .unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        lines(response.headers()),
        [
            "access-control-allow-origin: *",
            "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
            "vary: Access-Control-Request-Headers",
            "content-length: 0",
        ]
    );
}

#[test]
fn an_empty_list_allows_nothing() {
    let cors = Cors::any()
        .methods([])
        .allowed_headers([])
        .exposed_headers([])
        .max_age(Duration::ZERO);
    assert_eq!(
        preflight(&cors, &HeaderMap::new()),
        [
            "access-control-allow-origin: *",
            "access-control-max-age: 0",
            "content-length: 0",
        ]
    );
}

#[test]
fn only_options_requests_are_preflights_and_only_where_wanted() {
    let request = from(PAGE);
    assert!(Cors::any().preflight(&Method::GET, &request).is_none());
    let cors = Cors::any().preflight_continue(true);
    assert!(cors.preflight(&Method::OPTIONS, &request).is_none());
}

#[test]
fn what_the_response_varies_with_already_stays() {
    let vary = |before: &'static str| {
        let mut out = HeaderMap::new();
        out.insert(header::VARY, HeaderValue::from_static(before));
        Cors::reflect().headers(&HeaderMap::new(), &mut out);
        out[header::VARY].clone()
    };
    assert_eq!(vary("Accept-Encoding"), "Accept-Encoding, Origin");
    assert_eq!(vary("Accept, origin"), "Accept, origin");
    assert_eq!(vary("*"), "*");
    assert_eq!(vary(""), "Origin");
    let mut out = HeaderMap::new();
    out.append(header::VARY, HeaderValue::from_static("Accept"));
    out.append(header::VARY, HeaderValue::from_static("Cookie"));
    Cors::reflect().headers(&HeaderMap::new(), &mut out);
    assert_eq!(lines(&out), ["vary: Accept, Cookie, Origin"]);
}
